-- Parameters: presentity_uri, watcher_username, watcher_domain, event
-- Columns: status, reason.
-- What the server itself decided is no reason to decide so again.
SELECT status, reason
FROM watchers
WHERE presentity_uri = ?1 AND watcher_username = ?2 AND watcher_domain = ?3 AND event = ?4
    AND decided IS NOT status || ' ' || coalesce(reason, '');
