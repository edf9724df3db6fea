-- Parameters: presentity_uri, callid, to_tag, from_tag, local_cseq, version, boot
-- Two may be under way at once: what was reserved is never taken back.
-- Reserves numbers ahead, so that a restart goes on above everything ever sent.
UPDATE active_watchers SET
    local_cseq = max(local_cseq, ?5),
    version    = ?6,
    boot       = ?7
WHERE presentity_uri = ?1 AND callid = ?2 AND to_tag = ?3 AND from_tag = ?4;
