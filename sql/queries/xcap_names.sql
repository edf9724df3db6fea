-- Parameters: username, domain
-- Columns: doc_type, id, doc_uri, etag, source, port, content_type, changed_at.
SELECT doc_type, id, doc_uri, etag, source, port, content_type, changed_at
FROM xcap
WHERE username = ?1 AND domain = ?2
ORDER BY doc_type, doc_uri;
