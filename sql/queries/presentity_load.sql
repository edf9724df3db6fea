-- Parameters: none
-- Columns: id, then the parameters of presentity_insert up to sender in their order.
-- By id, which costs nothing: to sort them by age here would copy every body. The casts read what a script wrote as
-- text: a time that is no number becomes 0, long expired.
SELECT
    id, username, domain, event, etag, CAST(expires AS INTEGER), CAST(received_time AS INTEGER),
    CAST(received_order AS INTEGER), content_type, CAST(body AS BLOB), sender
FROM presentity
ORDER BY id;
