-- Parameters: first, last
-- Columns: id, then the other parameters of active_watchers_insert in their order.
-- A time that is no number becomes 0, long expired.
SELECT
    id, presentity_uri, watcher_username, watcher_domain, to_user, to_domain, event,
    coalesce(event_id, ''), to_tag, from_tag, callid, local_cseq, remote_cseq, contact,
    record_route, CAST(expires AS INTEGER), status, reason, version, socket_info, local_contact,
    from_hdr, to_hdr, subscribed_at, target, boot
FROM active_watchers
WHERE id BETWEEN ?1 AND ?2
ORDER BY id;
