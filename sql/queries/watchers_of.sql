-- Parameters: presentity_uri
-- Columns: watcher_username, watcher_domain, status, inserted_time, expires (0: who does not watch now).
SELECT w.watcher_username, w.watcher_domain, w.status, w.inserted_time, coalesce(max(a.expires), 0)
FROM watchers AS w
LEFT JOIN active_watchers AS a
    ON a.presentity_uri = w.presentity_uri AND a.watcher_username = w.watcher_username
    AND a.watcher_domain = w.watcher_domain AND a.event = w.event
WHERE w.presentity_uri = ?1 AND w.event = 'presence'
GROUP BY w.id
UNION ALL
SELECT a.watcher_username, a.watcher_domain, min(a.status), 0, max(a.expires)
FROM active_watchers AS a
WHERE a.presentity_uri = ?1 AND a.event = 'presence' AND NOT EXISTS (
    SELECT 1 FROM watchers AS w
    WHERE w.presentity_uri = a.presentity_uri AND w.watcher_username = a.watcher_username
        AND w.watcher_domain = a.watcher_domain AND w.event = a.event
)
GROUP BY a.watcher_username, a.watcher_domain
LIMIT 10000;
