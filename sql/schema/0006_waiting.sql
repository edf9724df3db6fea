-- Watchers whose subscription ended before anybody decided about it are waiting (RFC 3857 section 4.7.1): rows of
-- `watchers` with status 2 whose waiting_id is not ''. NULL is none in a row of the server (`decided`); a row of others
-- waits while its watcher has no subscription. The columns are nullable, so an INSERT written for OpenSIPS still works.
ALTER TABLE watchers ADD COLUMN waiting_id TEXT;       -- the id by which watcher information knows the subscription
ALTER TABLE watchers ADD COLUMN shown_uri TEXT;        -- whom it shows, where that is not the address of record
ALTER TABLE watchers ADD COLUMN display_name TEXT;
ALTER TABLE watchers ADD COLUMN subscribed_at INTEGER;

CREATE INDEX watchers_watcher_idx ON watchers (watcher_username, watcher_domain) WHERE status = 2;

-- What others changed of `watchers`, and what was purged, with the waiting subscription that was there before.
-- A running server looks here; it writes nothing of what it decided itself.
CREATE TABLE watchers_changes (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    presentity_uri   TEXT NOT NULL,
    watcher_username TEXT NOT NULL,
    watcher_domain   TEXT NOT NULL,
    event            TEXT NOT NULL,
    status           INTEGER,          -- what it was, NULL for a new row
    waiting_id       TEXT,
    shown_uri        TEXT,
    display_name     TEXT,
    subscribed_at    INTEGER
);

CREATE TRIGGER watchers_added BEFORE INSERT ON watchers WHEN NEW.decided IS NULL BEGIN
    INSERT INTO watchers_changes (
        presentity_uri, watcher_username, watcher_domain, event,
        status, waiting_id, shown_uri, display_name, subscribed_at
    )
    SELECT NEW.presentity_uri, NEW.watcher_username, NEW.watcher_domain, NEW.event,
        old.status, CASE WHEN old.decided IS NULL THEN old.waiting_id ELSE coalesce(old.waiting_id, '') END, old.shown_uri, old.display_name, coalesce(old.subscribed_at, old.inserted_time)
    FROM (SELECT 1) LEFT JOIN watchers AS old
        ON old.presentity_uri = NEW.presentity_uri AND old.watcher_username = NEW.watcher_username
        AND old.watcher_domain = NEW.watcher_domain AND old.event = NEW.event;
END;
-- The server writes the same decision again when rules show something else.
CREATE TRIGGER watchers_changed AFTER UPDATE OF status, reason ON watchers
WHEN NEW.decided IS OLD.decided AND (NEW.status IS NOT OLD.status OR NEW.reason IS NOT OLD.reason) BEGIN
    INSERT INTO watchers_changes (
        presentity_uri, watcher_username, watcher_domain, event,
        status, waiting_id, shown_uri, display_name, subscribed_at
    )
    VALUES (
        OLD.presentity_uri, OLD.watcher_username, OLD.watcher_domain, OLD.event,
        OLD.status, CASE WHEN OLD.decided IS NULL THEN OLD.waiting_id ELSE coalesce(OLD.waiting_id, '') END, OLD.shown_uri, OLD.display_name, coalesce(OLD.subscribed_at, OLD.inserted_time)
    );
END;
CREATE TRIGGER watchers_removed AFTER DELETE ON watchers BEGIN
    INSERT INTO watchers_changes (
        presentity_uri, watcher_username, watcher_domain, event,
        status, waiting_id, shown_uri, display_name, subscribed_at
    )
    VALUES (
        OLD.presentity_uri, OLD.watcher_username, OLD.watcher_domain, OLD.event,
        OLD.status, CASE WHEN OLD.decided IS NULL THEN OLD.waiting_id ELSE coalesce(OLD.waiting_id, '') END, OLD.shown_uri, OLD.display_name, coalesce(OLD.subscribed_at, OLD.inserted_time)
    );
END;
