-- Parameters: doc_type
-- Columns: username, domain.
SELECT DISTINCT username, domain
FROM xcap
WHERE doc_type = ?1;
