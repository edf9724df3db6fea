-- Parameters: id, limit
-- Columns: id, presentity_uri, event, then as of watchers_row: what the row was before it was changed.
SELECT id, presentity_uri, event,
    watcher_username, watcher_domain, status, waiting_id, shown_uri, display_name, subscribed_at
FROM watchers_changes
WHERE id > ?1
ORDER BY id
LIMIT ?2;
