-- Parameters: presentity_uri, callid, to_tag, from_tag, expires, remote_cseq, local_cseq, contact, status, reason, version, boot, target
-- Changes: at least one row
-- A subscription whose row is gone must not be answered as refreshed.
UPDATE active_watchers SET
    expires     = ?5,
    remote_cseq = ?6,
    local_cseq  = max(local_cseq, ?7),
    contact     = ?8,
    status      = ?9,
    reason      = ?10,
    version     = ?11,
    boot        = ?12,
    target      = ?13
WHERE presentity_uri = ?1 AND callid = ?2 AND to_tag = ?3 AND from_tag = ?4;
