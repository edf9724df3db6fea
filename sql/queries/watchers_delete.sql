-- Parameters: presentity_uri, watcher_username, watcher_domain, event
DELETE FROM watchers
WHERE presentity_uri = ?1 AND watcher_username = ?2 AND watcher_domain = ?3 AND event = ?4;
