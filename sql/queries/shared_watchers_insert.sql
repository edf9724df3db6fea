-- Parameters: presentity_uri, watcher_username, watcher_domain, to_user, to_domain, event, event_id, to_tag, from_tag, callid, local_cseq, remote_cseq, contact, record_route, expires, status, reason, version, socket_info, local_contact, from_hdr, to_hdr, subscribed_at, target, boot
INSERT INTO shared_watchers (
    presentity_uri, watcher_username, watcher_domain, to_user, to_domain, event, event_id, to_tag,
    from_tag, callid, local_cseq, remote_cseq, contact, record_route, expires, status, reason,
    version, socket_info, local_contact, from_hdr, to_hdr, subscribed_at, target, boot
) VALUES (
    ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,
    ?22, ?23, ?24, ?25
)
ON CONFLICT (presentity_uri, callid, to_tag, from_tag, event, event_id) DO UPDATE SET
    watcher_username = excluded.watcher_username,
    watcher_domain   = excluded.watcher_domain,
    to_user          = excluded.to_user,
    to_domain        = excluded.to_domain,
    local_cseq       = excluded.local_cseq,
    remote_cseq      = excluded.remote_cseq,
    contact          = excluded.contact,
    record_route     = excluded.record_route,
    expires          = excluded.expires,
    status           = excluded.status,
    reason           = excluded.reason,
    version          = excluded.version,
    socket_info      = excluded.socket_info,
    local_contact    = excluded.local_contact,
    from_hdr         = excluded.from_hdr,
    to_hdr           = excluded.to_hdr,
    subscribed_at    = excluded.subscribed_at,
    target           = excluded.target,
    boot             = excluded.boot;
