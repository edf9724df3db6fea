-- Parameters: presentity_uri, watcher_username, watcher_domain, event, status, reason, inserted_time, waiting_id
-- Journalled by: presentity_uri, watcher_username, watcher_domain, event
-- Yields to: watchers_put
-- A row that is there by now stays: what it says was decided, and inserted_time is that of the first request.
-- waiting_id is '', for a watcher that has just come.
INSERT INTO watchers (
    presentity_uri, watcher_username, watcher_domain, event, status, reason, inserted_time, waiting_id
) VALUES (
    ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
)
ON CONFLICT (presentity_uri, watcher_username, watcher_domain, event) DO NOTHING;
