-- Bear an event that is not about a generation: a test, or an endpoint that was switched off.
-- ARGV: now, retention_ms, alive_ms, event id, type, body, then for its delivery: delivery id,
--   endpoint, url, lane, record
-- Returns the lane whose drain the caller must start, or ''
return bear_event(4, '', '', clock(), tonumber(ARGV[3]), tonumber(ARGV[2]))
