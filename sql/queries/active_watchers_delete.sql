-- Parameters: id
-- Journalled by: id
-- Supersedes: active_watchers_insert, active_watchers_refresh, active_watchers_extend, active_watchers_reserve, active_watchers_delete, active_watchers_judge
DELETE FROM active_watchers
WHERE id = ?1;
