-- Who may prove to be whom, by digest authentication. The columns are those that operators know from OpenSIPS; no
-- clear password is ever written: `password` stays empty.

CREATE TABLE subscriber (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    username       TEXT NOT NULL DEFAULT '',
    domain         TEXT NOT NULL DEFAULT '',
    password       TEXT NOT NULL DEFAULT '',
    email_address  TEXT NOT NULL DEFAULT '',
    ha1            TEXT NOT NULL DEFAULT '',  -- MD5 of username:realm:password
    ha1b           TEXT NOT NULL DEFAULT '',  -- MD5 of username@domain:realm:password
    ha1_sha256     TEXT NOT NULL DEFAULT '',
    ha1_sha512t256 TEXT NOT NULL DEFAULT '',
    rpid           TEXT
);
CREATE UNIQUE INDEX account_idx ON subscriber (username, domain);

-- A running server looks at this count to see that users have changed, whoever changed them.
INSERT INTO settings (name, value) VALUES ('subscriber_changes', 0);

CREATE TRIGGER subscriber_added AFTER INSERT ON subscriber BEGIN
    UPDATE settings SET value = value + 1 WHERE name = 'subscriber_changes';
END;
CREATE TRIGGER subscriber_changed AFTER UPDATE ON subscriber BEGIN
    UPDATE settings SET value = value + 1 WHERE name = 'subscriber_changes';
END;
CREATE TRIGGER subscriber_removed AFTER DELETE ON subscriber BEGIN
    UPDATE settings SET value = value + 1 WHERE name = 'subscriber_changes';
END;
