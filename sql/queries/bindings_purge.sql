-- Parameters: expires
DELETE FROM bindings
WHERE expires <= ?1;
