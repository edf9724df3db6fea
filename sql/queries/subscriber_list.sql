-- Parameters: none
-- Columns: username, domain, ha1, ha1_sha256, ha1_sha512t256.
SELECT
    username, domain, ha1, ha1_sha256, ha1_sha512t256
FROM subscriber
ORDER BY domain, username;
