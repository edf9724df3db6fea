-- Parameters: username, domain, ha1, ha1b, ha1_sha256, ha1_sha512t256
UPDATE subscriber SET
    password = '', ha1 = ?3, ha1b = ?4, ha1_sha256 = ?5, ha1_sha512t256 = ?6
WHERE username = ?1 AND domain = ?2;
