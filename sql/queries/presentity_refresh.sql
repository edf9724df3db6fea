-- Parameters: username, domain, event, old etag, new etag, expires, received_time, received_order
-- Changes: at least one row
-- A publication whose row is gone must not be answered as refreshed.
UPDATE presentity SET
    etag           = ?5,
    expires        = ?6,
    received_time  = ?7,
    received_order = ?8
WHERE username = ?1 AND domain = ?2 AND event = ?3 AND etag = ?4;
