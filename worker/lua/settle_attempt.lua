-- Write what an attempt made of a delivery, if nobody has claimed it since, and what it says of
-- its receiver and its endpoint.
-- ARGV: now, delivery id, fence, state, reason, record, next_at, attempt, timeline entry,
--   retention_ms, health version, reason, streak, held_until, detail ('' version = unchanged),
--   outcome (ok, failed), and if it switches the endpoint off: why, the failing_since that this was
--   concluded from ('' = it does not matter), event id, event type, event body
-- Returns {1, whether the endpoint was switched off}, or {0, 0} if the claim was stale
local now, id, fence, state = clock(), ARGV[2], ARGV[3], ARGV[4]
local retention_ms, outcome = tonumber(ARGV[10]), ARGV[16]
local off, since, off_event = ARGV[17], ARGV[18], ARGV[19]
local delivery, attempts = key('delivery:' .. id), key('attempts:' .. id)
local known = redis.call('HMGET', delivery, 'fence', 'state', 'lane', 'endpoint', 'account', 'generation_id')
local lane, name = known[3], known[4]
if not lane then
  return {0, 0}
end
settle_health(lane, 11)
if known[1] ~= fence or known[2] ~= 'pending' then
  index_lane(lane)
  return {0, 0}
end

local endpoint, switched_off = key('endpoint:' .. name), 0
if redis.call('EXISTS', endpoint) == 1 then
  local is = redis.call('HMGET', endpoint, 'enabled', 'failing_since')
  if outcome == 'ok' then
    redis.call('HDEL', endpoint, 'failing_since')
  else
    redis.call('HSETNX', endpoint, 'failing_since', now)
  end
  if off and is[1] == '1' and (since == '' or since == is[2]) then
    switched_off = 1
    bear_event(19, '', '', now, 0, retention_ms)
    disable_endpoint(name, off, off_event)
  end
end

redis.call('HSET', delivery, 'record', ARGV[6], 'fence', next_number())
redis.call('RPUSH', attempts, ARGV[8])
redis.call('LTRIM', attempts, -50, -1)
note(key('timeline:' .. known[5] .. ':' .. known[6]), {ARGV[9]})
local enabled = redis.call('HGET', endpoint, 'enabled')
if state == 'pending' and enabled == '1' then
  redis.call('ZREM', key('busy:' .. lane), id)
  redis.call('ZADD', key('due:' .. lane), ARGV[7], id)
elseif state == 'pending' then
  give_up(id, enabled, now, retention_ms) -- it was under way when its endpoint was released
else
  finish_delivery(id, state, ARGV[5], now, retention_ms)
end
index_lane(lane)
return {1, switched_off}
