-- Parameters: presentity_uri, callid, to_tag, from_tag, event, event_id, local_cseq, version, boot
-- Two may be under way at once: what was reserved is never taken back.
-- Reserves numbers ahead, so that a restart goes on above everything ever sent.
UPDATE shared_watchers SET
    local_cseq = max(local_cseq, ?7),
    version    = ?8,
    boot       = ?9
WHERE presentity_uri = ?1 AND callid = ?2 AND to_tag = ?3 AND from_tag = ?4 AND event = ?5 AND event_id = ?6;
