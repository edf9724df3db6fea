-- Parameters: id
-- Journalled by: id
-- Supersedes: shared_watchers_insert, shared_watchers_refresh, shared_watchers_reserve, shared_watchers_delete, shared_watchers_judge
DELETE FROM shared_watchers
WHERE id = ?1;
