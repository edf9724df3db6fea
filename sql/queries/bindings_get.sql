-- Parameters: username, domain
-- Columns: contact, callid, cseq, q, expires, path, user_agent, received.
SELECT contact, callid, cseq, q, expires, path, user_agent, received
FROM bindings
WHERE username = ?1 AND domain = ?2
ORDER BY id;
