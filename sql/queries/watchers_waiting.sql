-- Parameters: presentity_uri, event, limit
-- Columns: as of watchers_row, for those who may be waiting, the latest first.
SELECT watcher_username, watcher_domain, status,
    CASE WHEN decided IS NULL THEN waiting_id ELSE coalesce(waiting_id, '') END, shown_uri, display_name,
    coalesce(subscribed_at, inserted_time)
FROM watchers
WHERE presentity_uri = ?1 AND event = ?2 AND status = 2 AND waiting_id IS NOT ''
    AND (waiting_id IS NOT NULL OR decided IS NULL)
ORDER BY id DESC
LIMIT ?3;
