-- Parameters: none
-- Columns: those of a dialog and its watcher, of rows whose watcher may be another than From names.
SELECT
    callid, to_tag, from_tag, watcher_username, watcher_domain
FROM active_watchers
WHERE from_hdr IS NOT NULL AND instr(from_hdr, ':' || watcher_username || '@' || watcher_domain || '>') = 0;
