-- Parameters: name
-- Columns: value.
SELECT value
FROM settings
WHERE name = ?1;
