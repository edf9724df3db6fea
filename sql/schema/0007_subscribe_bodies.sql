-- What subscribers have chosen to be told, for event packages whose SUBSCRIBE says so in a body (RFC 5875 section 4.4).
-- Apart from active_watchers, whose rows stay as short as they are read.
CREATE TABLE subscribe_bodies (
    id        INTEGER PRIMARY KEY,     -- that of active_watchers, or minus that of shared_watchers
    selection BLOB    NOT NULL
);
