-- Parameters: id, most
-- Columns: id, username, domain, doc_type, changed_at.
SELECT id, username, domain, doc_type, changed_at
FROM xcap INDEXED BY source_idx
WHERE source = 1 AND id > ?1
ORDER BY id
LIMIT ?2;
