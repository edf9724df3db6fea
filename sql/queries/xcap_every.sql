-- Parameters: doc_type
-- Columns: username, domain, doc_uri, doc.
SELECT username, domain, doc_uri, doc
FROM xcap
WHERE doc_type = ?1
ORDER BY id;
