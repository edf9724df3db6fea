-- Parameters: username, domain, doc_type, doc_uri, other_uri
-- What stands under the other name of a document that is deleted must not come back to life.
DELETE FROM xcap
WHERE username = ?1 AND domain = ?2 AND doc_type = ?3 AND doc_uri IN (?4, ?5);
