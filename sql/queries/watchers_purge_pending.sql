-- Parameters: inserted_time, limit
-- Forgets those who waited for a decision since before that instant, so many at a time.
DELETE FROM watchers
WHERE id IN (SELECT id FROM watchers WHERE status = 2 AND inserted_time < ?1 LIMIT ?2);
