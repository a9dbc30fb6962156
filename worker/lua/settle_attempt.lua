-- Write what an attempt made of a delivery, unless the claim is stale.
-- ARGV: now, delivery id, fence, state, record, next_at, attempt, timeline name, timeline entry,
--   retention_ms
-- Returns 1, or 0 if the delivery was claimed or settled since
local now, id, fence, state = clock(), ARGV[2], ARGV[3], ARGV[4]
local retention_ms = tonumber(ARGV[10])
local delivery, attempts = key('delivery:' .. id), key('attempts:' .. id)
local known = redis.call('HMGET', delivery, 'fence', 'state', 'seq', 'lane', 'event_id')
local seq, lane, event = known[3], known[4], key('event:' .. (known[5] or ''))
if known[1] ~= fence or known[2] ~= 'pending' then
  return 0
end

redis.call('HSET', delivery, 'state', state, 'record', ARGV[5], 'fence', next_number())
redis.call('RPUSH', attempts, ARGV[7])
redis.call('LTRIM', attempts, -50, -1)
note(key('timeline:' .. ARGV[8]), {ARGV[9]})
if state == 'pending' then
  redis.call('ZADD', key('due:' .. lane), ARGV[6], id)
else
  local index = 'deliveries:' .. state
  redis.call('ZREM', key('due:' .. lane), id)
  redis.call('ZREM', key('deliveries:pending'), id)
  redis.call('ZADD', key(index), seq, id)
  unlist_at(index, id, now + retention_ms)
  redis.call('PEXPIRE', delivery, retention_ms)
  redis.call('PEXPIRE', attempts, retention_ms)
  if redis.call('HINCRBY', event, 'pending', -1) <= 0 then
    redis.call('PEXPIRE', event, retention_ms)
  end
end
index_lane(lane)
return 1
