-- Parameters: none
-- Columns: id, then those parameters of active_watchers_insert that an ordinary subscription is restored from.
-- A time that is no number becomes 0, long expired. A dialog whose Contact is a SIPS URI is none of the ordinary ones,
-- and gets no socket.
SELECT
    id, presentity_uri, event, coalesce(event_id, ''), to_tag, from_tag, callid, local_cseq, remote_cseq,
    contact, record_route, CAST(expires AS INTEGER), status,
    iif(local_contact LIKE 'sips:%', NULL, socket_info), from_hdr, to_hdr,
    subscribed_at, target, boot
FROM active_watchers
ORDER BY id;
