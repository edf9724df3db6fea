-- Parameters: id, expected, doc_uri, doc, etag, content_type
UPDATE xcap SET doc_uri = ?3, doc = ?4, etag = ?5, content_type = ?6, source = 0, port = 0
WHERE id = ?1 AND etag = ?2;
