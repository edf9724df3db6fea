-- Parameters: id, expected
DELETE FROM xcap
WHERE id = ?1 AND etag = ?2;
