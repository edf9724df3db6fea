-- Parameters: id, status, reason
-- Journalled by: id
-- Supersedes: active_watchers_judge
-- Writes what was decided about a running subscription.
UPDATE active_watchers SET
    status = ?2,
    reason = ?3
WHERE id = ?1;
