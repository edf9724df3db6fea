-- Parameters: presentity_uri, watcher_username, watcher_domain, event, status, reason, inserted_time, decided, by_rules
-- Journalled by: presentity_uri, watcher_username, watcher_domain, event
-- Supersedes: watchers_judge
-- Keeps the highest: by_rules
-- Keeps the first: inserted_time
-- What a rules document says stands. The default yields to what an operator decided; inserted_time is that of the first
-- request.
INSERT INTO watchers (
    presentity_uri, watcher_username, watcher_domain, event, status, reason, inserted_time, decided, by_rules
) VALUES (
    ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9
)
ON CONFLICT (presentity_uri, watcher_username, watcher_domain, event) DO UPDATE SET
    status   = excluded.status,
    reason   = excluded.reason,
    decided  = excluded.decided,
    by_rules = excluded.by_rules
WHERE excluded.by_rules = 1 OR watchers.decided IS watchers.status || ' ' || coalesce(watchers.reason, '');
