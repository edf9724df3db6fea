-- Parameters: presentity_uri, watcher_username, watcher_domain, event, waiting_id, shown_uri, display_name, subscribed_at
-- Journalled by: presentity_uri, watcher_username, watcher_domain, event
-- Supersedes: watchers_wait
-- Says which subscription of the watcher waits for a decision; waiting_id '' is none.
UPDATE watchers SET
    waiting_id    = ?5,
    shown_uri     = ?6,
    display_name  = ?7,
    subscribed_at = ?8
WHERE presentity_uri = ?1 AND watcher_username = ?2 AND watcher_domain = ?3 AND event = ?4;
