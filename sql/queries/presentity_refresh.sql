-- Parameters: id, etag, expires
-- Journalled by: id
-- Supersedes: presentity_refresh
UPDATE OR REPLACE presentity SET
    etag    = ?2,
    expires = ?3
WHERE id = ?1;
