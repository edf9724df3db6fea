-- Parameters: presentity_uri, callid, to_tag, from_tag, event, event_id, expires, remote_cseq, local_cseq, contact, status, reason, version, boot, target
-- Changes: at least one row
-- A subscription whose row is gone must not be answered as refreshed.
UPDATE shared_watchers SET
    expires     = ?7,
    remote_cseq = ?8,
    local_cseq  = max(local_cseq, ?9),
    contact     = ?10,
    status      = ?11,
    reason      = ?12,
    version     = ?13,
    boot        = ?14,
    target      = ?15
WHERE presentity_uri = ?1 AND callid = ?2 AND to_tag = ?3 AND from_tag = ?4 AND event = ?5 AND event_id = ?6;
