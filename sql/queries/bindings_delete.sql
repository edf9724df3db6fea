-- Parameters: username, domain, contact
DELETE FROM bindings
WHERE username = ?1 AND domain = ?2 AND contact = ?3;
