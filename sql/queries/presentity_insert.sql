-- Parameters: id, username, domain, event, etag, expires, received_time, received_order, content_type, body, sender, extra_hdrs
-- Journalled by: id
-- What was acknowledged stands: it replaces a row of somebody else's that has taken its id or its key.
INSERT OR REPLACE INTO presentity (
    id, username, domain, event, etag, expires, received_time, received_order, content_type, body,
    sender, extra_hdrs
) VALUES (
    ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12
);
