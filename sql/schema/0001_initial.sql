-- The first four tables keep the names, columns and unique keys that operators' scripts know from OpenSIPS;
-- the columns after the mark "ours" are nullable, so an INSERT written for OpenSIPS still works.
-- Every time is an absolute instant in whole epoch seconds.

-- One row per publication (RFC 3903).
CREATE TABLE presentity (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    username       TEXT    NOT NULL,
    domain         TEXT    NOT NULL,
    event          TEXT    NOT NULL,
    etag           TEXT    NOT NULL,
    expires        INTEGER NOT NULL,
    received_time  INTEGER NOT NULL,
    body           BLOB,
    extra_hdrs     BLOB,
    sender         TEXT,
    -- ours
    content_type   TEXT,               -- NULL: the package's own type
    received_order INTEGER             -- order of receipt inside one second; NULL: by id
);
CREATE UNIQUE INDEX presentity_idx ON presentity (username, domain, event, etag);

-- One row per subscription (RFC 6665); status 1 active, 2 pending, 3 terminated, 4 waiting.
CREATE TABLE active_watchers (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    presentity_uri   TEXT    NOT NULL,
    watcher_username TEXT    NOT NULL,
    watcher_domain   TEXT    NOT NULL,
    to_user          TEXT    NOT NULL,
    to_domain        TEXT    NOT NULL,
    event            TEXT    NOT NULL DEFAULT 'presence',
    event_id         TEXT             DEFAULT '',
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
    -- ours
    from_hdr         TEXT,             -- the watcher's From as it stood, without its tag
    to_hdr           TEXT,             -- the To as it stood, without a tag
    subscribed_at    INTEGER,
    target           TEXT,               -- where NOTIFYs go: transport:address:port
    boot             INTEGER             -- the start of the server that wrote local_cseq
);
CREATE UNIQUE INDEX active_watchers_idx ON active_watchers (presentity_uri, callid, to_tag, from_tag);

-- Who asked for whom, and what was decided about it; outlives the subscriptions.
CREATE TABLE watchers (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    presentity_uri   TEXT    NOT NULL,
    watcher_username TEXT    NOT NULL,
    watcher_domain   TEXT    NOT NULL,
    event            TEXT    NOT NULL DEFAULT 'presence',
    status           INTEGER NOT NULL,
    reason           TEXT,
    inserted_time    INTEGER NOT NULL
);
CREATE UNIQUE INDEX watcher_idx ON watchers (presentity_uri, watcher_username, watcher_domain, event);
CREATE INDEX watchers_pending_idx ON watchers (inserted_time) WHERE status = 2;

-- XCAP documents; doc_type 2 pres-rules, 4 resource-lists, 8 rls-services, 16 pidf-manipulation, 32 OMA pres-rules.
CREATE TABLE xcap (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    username TEXT    NOT NULL,
    domain   TEXT    NOT NULL,
    doc      BLOB    NOT NULL,
    doc_type INTEGER NOT NULL,
    etag     TEXT    NOT NULL,
    source   INTEGER NOT NULL,
    doc_uri  TEXT    NOT NULL,
    port     INTEGER NOT NULL
);
CREATE UNIQUE INDEX account_doc_type_idx ON xcap (username, domain, doc_type, doc_uri);
CREATE INDEX source_idx ON xcap (source);

-- The second and later subscriptions inside one dialog (RFC 6665 section 4.5.2), which the unique key of
-- active_watchers cannot hold.
CREATE TABLE shared_watchers (
    id               INTEGER PRIMARY KEY,
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
CREATE UNIQUE INDEX shared_watchers_idx
    ON shared_watchers (presentity_uri, callid, to_tag, from_tag, event, event_id);

-- Bindings of the registrar (RFC 3261 section 10).
CREATE TABLE bindings (
    id         INTEGER PRIMARY KEY,
    username   TEXT    NOT NULL,
    domain     TEXT    NOT NULL,
    contact    TEXT    NOT NULL,
    callid     TEXT    NOT NULL,
    cseq       INTEGER NOT NULL,
    q          REAL,
    expires    INTEGER NOT NULL,
    path       TEXT,
    user_agent TEXT,
    received   TEXT
);
CREATE UNIQUE INDEX bindings_idx ON bindings (username, domain, contact);
CREATE INDEX bindings_expires_idx ON bindings (expires);

-- What the server keeps about itself, such as its own secret.
CREATE TABLE settings (
    name  TEXT PRIMARY KEY NOT NULL,
    value BLOB
);
