-- Parameters: seq
-- The newest row stays: it says how far the log has come.
DELETE FROM xcap_changes
WHERE seq < ?1;
