-- Parameters: id
-- Drops the changes that were taken notice of.
DELETE FROM watchers_changes
WHERE id <= ?1;
