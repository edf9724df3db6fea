-- Who decided about a watcher: the server, while `decided` says what status and reason say, else an operator.
-- The columns are nullable, so an INSERT written for OpenSIPS still works, and is an operator's decision.
ALTER TABLE watchers ADD COLUMN decided TEXT;       -- status and reason as the server wrote them
ALTER TABLE watchers ADD COLUMN by_rules INTEGER;   -- 1 when a rules document said so, 0 when the default did
