-- Owe an event that is on record to one more endpoint, once.
-- ARGV: now, retention_ms, alive_ms, event id, delivery id, endpoint, url, lane, record
-- Returns the lane whose drain the caller must start, or ''
local event_id, id = ARGV[4], ARGV[5]
if redis.call('EXISTS', key('delivery:' .. id)) == 1 or redis.call('EXISTS', key('event:' .. event_id)) == 0 then
  return ''
end
redis.call('PERSIST', key('event:' .. event_id))
local owed = {id = id, endpoint = ARGV[6], url = ARGV[7], lane = ARGV[8], record = ARGV[9]}
return owe(event_id, '', '', owed, clock(), tonumber(ARGV[3]), tonumber(ARGV[2]))
