-- Parameters: id, presentity_uri, watcher_username, watcher_domain, to_user, to_domain, event, event_id, to_tag, from_tag, callid, local_cseq, remote_cseq, contact, record_route, expires, status, reason, version, socket_info, local_contact, from_hdr, to_hdr, subscribed_at, target, boot
-- Journalled by: id
-- What was acknowledged stands: it replaces a row of somebody else's that has taken its id or its key.
INSERT OR REPLACE INTO active_watchers (
    id, presentity_uri, watcher_username, watcher_domain, to_user, to_domain, event, event_id, to_tag,
    from_tag, callid, local_cseq, remote_cseq, contact, record_route, expires, status, reason,
    version, socket_info, local_contact, from_hdr, to_hdr, subscribed_at, target, boot
) VALUES (
    ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,
    ?22, ?23, ?24, ?25, ?26
);
