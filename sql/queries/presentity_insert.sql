-- Parameters: username, domain, event, etag, expires, received_time, received_order, content_type, body, sender, extra_hdrs
INSERT INTO presentity (
    username, domain, event, etag, expires, received_time, received_order, content_type, body,
    sender, extra_hdrs
) VALUES (
    ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11
)
ON CONFLICT (username, domain, event, etag) DO UPDATE SET
    expires        = excluded.expires,
    received_time  = excluded.received_time,
    received_order = excluded.received_order,
    content_type   = excluded.content_type,
    body           = excluded.body,
    sender         = excluded.sender,
    extra_hdrs     = excluded.extra_hdrs;
