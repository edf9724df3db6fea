-- Parameters: presentity_uri, callid, to_tag, from_tag
DELETE FROM active_watchers
WHERE presentity_uri = ?1 AND callid = ?2 AND to_tag = ?3 AND from_tag = ?4;
