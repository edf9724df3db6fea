-- Parameters: inserted_time
-- Forgets those who waited for a decision since before that instant.
DELETE FROM watchers
WHERE status = 2 AND inserted_time < ?1;
