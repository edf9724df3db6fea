-- Parameters: presentity_uri, event, id, limit
-- Columns: id, watcher_username, watcher_domain, status, reason.
SELECT id, watcher_username, watcher_domain, status, coalesce(reason, '')
FROM watchers
WHERE presentity_uri = ?1 AND event = ?2 AND id > ?3
ORDER BY id
LIMIT ?4;
