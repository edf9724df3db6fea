-- Parameters: id, etag, expires, received_time, received_order, content_type, body
-- Journalled by: id
-- Supersedes: presentity_modify, presentity_refresh
UPDATE OR REPLACE presentity SET
    etag           = ?2,
    expires        = ?3,
    received_time  = ?4,
    received_order = ?5,
    content_type   = ?6,
    body           = ?7
WHERE id = ?1;
