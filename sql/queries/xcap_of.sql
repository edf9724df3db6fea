-- Parameters: username, domain, doc_type
-- Columns: position of the log of changes, then id, doc_uri, doc, etag, source, port, content_type, changed_at of each
-- document; at least one row, whose id is NULL where there is none. One statement sees one state of both tables.
SELECT log.position, x.id, x.doc_uri, x.doc, x.etag, x.source, x.port, x.content_type, x.changed_at
FROM (SELECT max(seq) AS position FROM xcap_changes) AS log
LEFT JOIN xcap AS x ON x.username = ?1 AND x.domain = ?2 AND x.doc_type = ?3;
