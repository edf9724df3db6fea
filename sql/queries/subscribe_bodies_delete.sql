-- Parameters: id
-- Journalled by: id
-- Supersedes: subscribe_bodies_put, subscribe_bodies_delete
DELETE FROM subscribe_bodies
WHERE id = ?1;
