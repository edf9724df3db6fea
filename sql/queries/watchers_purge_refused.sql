-- Parameters: inserted_time
-- Forgets refusals that the server noted before that instant; what an operator decided stays.
DELETE FROM watchers
WHERE status = 3 AND inserted_time < ?1 AND decided IS status || ' ' || coalesce(reason, '');
