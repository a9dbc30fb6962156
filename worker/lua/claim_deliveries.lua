-- Claim the deliveries that are due in one receiver's lane. Whoever claimed one of them before, and
-- let the lease end, can no longer settle it.
-- ARGV: now, lane, limit, lease_ms, alive_ms
-- Returns {now, wake_at (-1 = nothing ahead), rows}; row = {id, event body, HGETALL}
local now, lane, limit, lease_ms, alive_ms = clock(), ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local due = key('due:' .. lane)
local rows = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, limit)) do
  local delivery = key('delivery:' .. id)
  local found = redis.call('HMGET', delivery, 'state', 'event_id')
  local body = found[2] and redis.call('HGET', key('event:' .. found[2]), 'body')
  if found[1] == 'pending' and body then
    redis.call('HSET', delivery, 'fence', next_number())
    redis.call('ZADD', due, now + lease_ms, id)
    rows[#rows + 1] = {id, body, redis.call('HGETALL', delivery)}
  else
    redis.call('ZREM', due, id)
  end
end
local wake_at = index_lane(lane)
local asleep_until = wake_at and (wake_at > now and wake_at or 0) or now + lease_ms
beat(lane, alive_ms, asleep_until)
return {now, wake_at or -1, rows}
