-- Parameters: none
SELECT id, selection
FROM subscribe_bodies;
