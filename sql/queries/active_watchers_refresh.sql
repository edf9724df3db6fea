-- Parameters: id, expires, remote_cseq, local_cseq, contact, status, reason, version, boot, target
-- Journalled by: id
-- Supersedes: active_watchers_refresh, active_watchers_extend, active_watchers_reserve, active_watchers_judge
-- Keeps the highest: local_cseq
UPDATE active_watchers SET
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
