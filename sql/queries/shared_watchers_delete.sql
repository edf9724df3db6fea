-- Parameters: presentity_uri, callid, to_tag, from_tag, event, event_id
DELETE FROM shared_watchers
WHERE presentity_uri = ?1 AND callid = ?2 AND to_tag = ?3 AND from_tag = ?4 AND event = ?5 AND event_id = ?6;
