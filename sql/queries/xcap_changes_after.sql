-- Parameters: seq, most
-- Columns: seq, username, domain, doc_type, doc_uri, old_etag.
SELECT seq, username, domain, doc_type, doc_uri, old_etag
FROM xcap_changes
WHERE seq > ?1
ORDER BY seq
LIMIT ?2;
