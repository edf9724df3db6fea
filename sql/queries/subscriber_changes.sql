-- Parameters: none
-- Columns: value: how often the table subscriber was changed.
SELECT value
FROM settings
WHERE name = 'subscriber_changes';
