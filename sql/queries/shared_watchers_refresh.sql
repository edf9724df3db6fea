-- Parameters: id, expires, remote_cseq, local_cseq, contact, status, reason, version, boot, target
-- Journalled by: id
-- Supersedes: shared_watchers_refresh, shared_watchers_reserve, shared_watchers_judge
-- Keeps the highest: local_cseq
UPDATE shared_watchers SET
    expires     = ?2,
    remote_cseq = ?3,
    local_cseq  = max(local_cseq, ?4),
    contact     = ?5,
    status      = ?6,
    reason      = ?7,
    version     = ?8,
    boot        = ?9,
    target      = ?10
WHERE id = ?1;
