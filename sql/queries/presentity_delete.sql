-- Parameters: username, domain, event, etag
DELETE FROM presentity
WHERE username = ?1 AND domain = ?2 AND event = ?3 AND etag = ?4;
