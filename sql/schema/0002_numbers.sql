-- The server numbers the rows of shared_watchers ahead, as those of presentity and active_watchers: AUTOINCREMENT
-- keeps what it has reserved from everybody else.

CREATE TABLE numbered_watchers (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    presentity_uri   TEXT    NOT NULL,
    watcher_username TEXT    NOT NULL,
    watcher_domain   TEXT    NOT NULL,
    to_user          TEXT    NOT NULL,
    to_domain        TEXT    NOT NULL,
    event            TEXT    NOT NULL DEFAULT 'presence',
    event_id         TEXT    NOT NULL DEFAULT '',
    to_tag           TEXT    NOT NULL,
    from_tag         TEXT    NOT NULL,
    callid           TEXT    NOT NULL,
    local_cseq       INTEGER NOT NULL,
    remote_cseq      INTEGER NOT NULL,
    contact          TEXT    NOT NULL,
    record_route     TEXT,
    expires          INTEGER NOT NULL,
    status           INTEGER NOT NULL DEFAULT 2,
    reason           TEXT,
    version          INTEGER NOT NULL DEFAULT 0,
    socket_info      TEXT    NOT NULL,
    local_contact    TEXT    NOT NULL,
    from_hdr         TEXT,
    to_hdr           TEXT,
    subscribed_at    INTEGER,
    target           TEXT,               -- where NOTIFYs go: transport:address:port
    boot             INTEGER             -- the start of the server that wrote local_cseq
);
INSERT INTO numbered_watchers (
    id, presentity_uri, watcher_username, watcher_domain, to_user, to_domain, event, event_id, to_tag,
    from_tag, callid, local_cseq, remote_cseq, contact,
    record_route, expires, status, reason, version, socket_info, local_contact,
    from_hdr, to_hdr, subscribed_at, target, boot
) SELECT
    id, presentity_uri, watcher_username, watcher_domain, to_user, to_domain, event, event_id, to_tag,
    from_tag, callid, local_cseq, remote_cseq, contact,
    record_route, expires, status, reason, version, socket_info, local_contact,
    from_hdr, to_hdr, subscribed_at, target, boot
FROM shared_watchers;
DROP TABLE shared_watchers;
ALTER TABLE numbered_watchers RENAME TO shared_watchers;
CREATE UNIQUE INDEX shared_watchers_idx
    ON shared_watchers (presentity_uri, callid, to_tag, from_tag, event, event_id);
