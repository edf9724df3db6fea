-- Parameters: presentity_uri, watcher_username, watcher_domain, event
-- Columns: watcher, status, and the subscription that waits.
SELECT watcher_username, watcher_domain, status,
    CASE WHEN decided IS NULL THEN waiting_id ELSE coalesce(waiting_id, '') END, shown_uri, display_name,
    coalesce(subscribed_at, inserted_time)
FROM watchers
WHERE presentity_uri = ?1 AND watcher_username = ?2 AND watcher_domain = ?3 AND event = ?4;
