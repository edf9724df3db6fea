-- Parameters: none
-- Columns: id of the latest change.
SELECT seq
FROM sqlite_sequence
WHERE name = 'watchers_changes';
