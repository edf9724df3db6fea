-- Parameters: none
-- Refuses the whole change when the statement before it has changed no row.
INSERT INTO xcap_changes (username, domain, doc_type, doc_uri)
SELECT NULL, NULL, NULL, NULL
WHERE changes() = 0;
