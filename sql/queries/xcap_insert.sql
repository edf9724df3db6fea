-- Parameters: username, domain, doc_type, doc_uri, other_uri, doc, etag, content_type
INSERT INTO xcap (username, domain, doc_type, doc_uri, doc, etag, source, port, content_type)
SELECT ?1, ?2, ?3, ?4, ?6, ?7, 0, 0, ?8
WHERE NOT EXISTS (
    SELECT 1 FROM xcap WHERE username = ?1 AND domain = ?2 AND doc_type = ?3 AND doc_uri IN (?4, ?5)
);
