-- Parameters: id, selection
-- Journalled by: id
-- Supersedes: subscribe_bodies_put
INSERT INTO subscribe_bodies (
    id, selection
) VALUES (
    ?1, ?2
)
ON CONFLICT (id) DO UPDATE SET
    selection = excluded.selection;
