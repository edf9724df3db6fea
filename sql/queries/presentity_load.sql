-- Parameters: none
-- Columns: id, then the other parameters of presentity_insert in their order; oldest first.
-- The casts read what a script wrote as text: a time that is no number becomes 0, long expired.
SELECT
    id, username, domain, event, etag, CAST(expires AS INTEGER), CAST(received_time AS INTEGER),
    received_order, content_type, CAST(body AS BLOB), sender, extra_hdrs
FROM presentity
ORDER BY received_time, received_order, id;
