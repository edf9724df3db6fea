-- Parameters: doc_type
-- Columns: username, domain, of all who have documents of this type.
SELECT DISTINCT username, domain
FROM xcap
WHERE doc_type = ?1 AND username <> '';
