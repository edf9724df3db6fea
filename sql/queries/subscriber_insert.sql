-- Parameters: username, domain, ha1, ha1b, ha1_sha256, ha1_sha512t256
INSERT INTO subscriber (
    username, domain, ha1, ha1b, ha1_sha256, ha1_sha512t256
) VALUES (
    ?1, ?2, ?3, ?4, ?5, ?6
);
