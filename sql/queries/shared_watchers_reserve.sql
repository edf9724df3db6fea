-- Parameters: id, local_cseq, version, boot
-- Journalled by: id
-- Supersedes: shared_watchers_reserve
-- Keeps the highest: local_cseq
-- Two may be under way at once: what was reserved is never taken back.
-- Reserves numbers ahead, so that a restart goes on above everything ever sent.
UPDATE shared_watchers SET
    local_cseq = max(local_cseq, ?2),
    version    = ?3,
    boot       = ?4
WHERE id = ?1;
