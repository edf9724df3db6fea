-- Parameters: watcher_username, watcher_domain
-- Columns: how many presentities have not decided about the watcher.
SELECT count(*)
FROM watchers
WHERE watcher_username = ?1 AND watcher_domain = ?2 AND status = 2;
