-- Parameters: id, expires, remote_cseq, local_cseq, boot
-- Journalled by: id
-- Supersedes: active_watchers_extend, active_watchers_reserve, active_watchers_judge
-- Keeps the highest: local_cseq
-- The refresh that most are: nothing changes but the time. Who is extended is active and sees what there is to
-- see, also one who was pending before a restart under another policy.
UPDATE active_watchers SET
    expires     = ?2,
    remote_cseq = ?3,
    local_cseq  = max(local_cseq, ?4),
    boot        = ?5,
    status      = 1,
    reason      = ''
WHERE id = ?1;
