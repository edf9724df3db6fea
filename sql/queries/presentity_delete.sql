-- Parameters: id
-- Journalled by: id
-- Supersedes: presentity_insert, presentity_modify, presentity_refresh, presentity_delete
DELETE FROM presentity
WHERE id = ?1;
