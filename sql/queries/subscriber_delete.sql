-- Parameters: username, domain
DELETE FROM subscriber
WHERE username = ?1 AND domain = ?2;
