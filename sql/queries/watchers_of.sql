-- Parameters: presentity_uri, event
-- Columns: watcher_username, watcher_domain, status, reason, inserted_time.
SELECT watcher_username, watcher_domain, status, reason, inserted_time
FROM watchers
WHERE presentity_uri = ?1 AND event = ?2;
