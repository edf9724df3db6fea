-- Parameters: username, domain, doc_type
-- Columns: doc, etag, doc_uri, source; the first row counts.
SELECT CAST(doc AS BLOB), etag, doc_uri, source
FROM xcap
WHERE username = ?1 AND domain = ?2 AND doc_type = ?3
ORDER BY id;
