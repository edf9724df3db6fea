-- XCAP documents are written by this server, by other XCAP servers and by scripts. Triggers note each change,
-- whoever made it, so that a running server sees it by one look at the newest row of a log.

ALTER TABLE xcap ADD COLUMN content_type TEXT;  -- ours; NULL: that of the application usage
ALTER TABLE xcap ADD COLUMN changed_at REAL;    -- ours; kept by the triggers below, NULL: before there were any

CREATE TABLE xcap_changes (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    username TEXT    NOT NULL,
    domain   TEXT    NOT NULL,
    doc_type INTEGER NOT NULL,
    doc_uri  TEXT    NOT NULL,
    old_etag TEXT,                     -- NULL: there was none
    new_etag TEXT                      -- NULL: it is gone
);

-- Nobody may read the log for a long time. A server that finds a gap takes everything for changed.
CREATE TRIGGER xcap_changes_bounded AFTER INSERT ON xcap_changes BEGIN
    DELETE FROM xcap_changes WHERE seq <= NEW.seq - 10000;
END;

-- What INSERT OR REPLACE takes away is told to no trigger on DELETE.
CREATE TRIGGER xcap_replaced BEFORE INSERT ON xcap BEGIN
    INSERT INTO xcap_changes (username, domain, doc_type, doc_uri, old_etag)
    SELECT username, domain, doc_type, doc_uri, etag FROM xcap
    WHERE username = NEW.username AND domain = NEW.domain AND doc_type = NEW.doc_type AND doc_uri = NEW.doc_uri
        OR id = NEW.id;
END;
CREATE TRIGGER xcap_added AFTER INSERT ON xcap BEGIN
    UPDATE xcap SET changed_at = (julianday('now') - 2440587.5) * 86400.0 WHERE id = NEW.id;
    INSERT INTO xcap_changes (username, domain, doc_type, doc_uri, new_etag)
    VALUES (NEW.username, NEW.domain, NEW.doc_type, NEW.doc_uri, NEW.etag);
END;
CREATE TRIGGER xcap_changed AFTER UPDATE OF doc, etag, content_type ON xcap
WHEN OLD.etag IS NOT NEW.etag OR OLD.doc IS NOT NEW.doc OR OLD.content_type IS NOT NEW.content_type BEGIN
    UPDATE xcap SET changed_at = (julianday('now') - 2440587.5) * 86400.0 WHERE id = NEW.id;
    INSERT INTO xcap_changes (username, domain, doc_type, doc_uri, old_etag, new_etag)
    VALUES (NEW.username, NEW.domain, NEW.doc_type, NEW.doc_uri, OLD.etag, NEW.etag);
END;
CREATE TRIGGER xcap_moved AFTER UPDATE OF username, domain, doc_type, doc_uri ON xcap
WHEN OLD.username IS NOT NEW.username OR OLD.domain IS NOT NEW.domain
    OR OLD.doc_type IS NOT NEW.doc_type OR OLD.doc_uri IS NOT NEW.doc_uri BEGIN
    INSERT INTO xcap_changes (username, domain, doc_type, doc_uri, old_etag)
    VALUES (OLD.username, OLD.domain, OLD.doc_type, OLD.doc_uri, OLD.etag);
    INSERT INTO xcap_changes (username, domain, doc_type, doc_uri, new_etag)
    VALUES (NEW.username, NEW.domain, NEW.doc_type, NEW.doc_uri, NEW.etag);
END;
CREATE TRIGGER xcap_removed AFTER DELETE ON xcap BEGIN
    INSERT INTO xcap_changes (username, domain, doc_type, doc_uri, old_etag)
    VALUES (OLD.username, OLD.domain, OLD.doc_type, OLD.doc_uri, OLD.etag);
END;
