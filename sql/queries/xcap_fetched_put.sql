-- Parameters: username, domain, doc_type, doc_uri, port, doc, etag, content_type
INSERT INTO xcap (username, domain, doc_type, doc_uri, port, doc, etag, content_type, source)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1)
ON CONFLICT (username, domain, doc_type, doc_uri) DO UPDATE SET
    port         = excluded.port,
    doc          = excluded.doc,
    etag         = excluded.etag,
    content_type = excluded.content_type,
    source       = 1;
