-- Parameters: username, domain, doc_type, kept
-- What was fetched from elsewhere before the one that is kept; all of it when none is.
DELETE FROM xcap
WHERE username = ?1 AND domain = ?2 AND doc_type = ?3 AND source = 1 AND doc_uri <> ?4;
