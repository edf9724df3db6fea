-- Parameters: presentity_uri, watcher_username, watcher_domain, event, status, reason, inserted_time
-- inserted_time stays that of the first request.
INSERT INTO watchers (
    presentity_uri, watcher_username, watcher_domain, event, status, reason, inserted_time
) VALUES (
    ?1, ?2, ?3, ?4, ?5, ?6, ?7
)
ON CONFLICT (presentity_uri, watcher_username, watcher_domain, event) DO UPDATE SET
    status = excluded.status,
    reason = excluded.reason;
