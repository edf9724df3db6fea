-- Parameters: presentity_uri, watcher_username, watcher_domain, event, status, reason
-- Journalled by: presentity_uri, watcher_username, watcher_domain, event
-- Supersedes: watchers_settle, watchers_wait
-- Writes what was decided about a watcher that waits; what somebody else decided meanwhile stays.
UPDATE watchers SET
    status     = CASE status WHEN 2 THEN ?5 ELSE status END,
    reason     = CASE status WHEN 2 THEN ?6 ELSE reason END,
    waiting_id = '',
    noted      = coalesce(noted, 0) + 1
WHERE presentity_uri = ?1 AND watcher_username = ?2 AND watcher_domain = ?3 AND event = ?4;
