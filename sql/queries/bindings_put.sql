-- Parameters: username, domain, contact, callid, cseq, q, expires, path, user_agent, received
INSERT INTO bindings (
    username, domain, contact, callid, cseq, q, expires, path, user_agent, received
) VALUES (
    ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10
)
ON CONFLICT (username, domain, contact) DO UPDATE SET
    callid     = excluded.callid,
    cseq       = excluded.cseq,
    q          = excluded.q,
    expires    = excluded.expires,
    path       = excluded.path,
    user_agent = excluded.user_agent,
    received   = excluded.received;
