-- Bear an event that is not about a generation (a test, say), once.
-- ARGV: now, retention_ms, alive_ms, event id, type, body, then for its delivery: delivery id,
--   endpoint, url, lane, record
-- Returns the lane whose drain the caller must start, or ''
if redis.call('EXISTS', key('event:' .. ARGV[4])) == 1 then
  return '' -- sent again by a client that has lost the first answer
end
return bear_event(4, '', '', clock(), tonumber(ARGV[3]), tonumber(ARGV[2]))
