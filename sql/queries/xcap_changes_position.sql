-- Parameters: none
-- Columns: the newest seq, NULL when nothing was ever changed.
SELECT max(seq)
FROM xcap_changes;
