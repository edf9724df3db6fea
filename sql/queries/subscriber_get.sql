-- Parameters: username, domain
-- Columns: ha1, ha1b, ha1_sha256, ha1_sha512t256.
SELECT
    ha1, ha1b, ha1_sha256, ha1_sha512t256
FROM subscriber
WHERE username = ?1 AND domain = ?2;
