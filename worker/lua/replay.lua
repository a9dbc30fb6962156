-- Owe a finished delivery again, from its first attempt on; one that is pending becomes due now.
-- ARGV: now, delivery id, record, alive_ms
-- Returns {state before, lane whose drain the caller must start or ''}: state '' = there is none,
--   'disabled' = its endpoint is off, 'gone' = its endpoint or event is no longer kept
local now, id, record, alive_ms = clock(), ARGV[2], ARGV[3], tonumber(ARGV[4])
local delivery = key('delivery:' .. id)
local known = redis.call('HMGET', delivery, 'state', 'lane', 'event_id', 'endpoint', 'seq', 'account', 'generation_id')
local state, lane, event_id, endpoint, seq = known[1], known[2], known[3], known[4], known[5]
if not state then
  return {'', ''}
end
local enabled = redis.call('HGET', key('endpoint:' .. endpoint), 'enabled')
if not enabled or redis.call('EXISTS', key('event:' .. event_id)) == 0 then
  return {'gone', ''}
elseif enabled == '0' then
  return {'disabled', ''}
end

if state ~= 'pending' then
  local index = 'deliveries:' .. state
  redis.call('ZREM', key(index), id)
  redis.call('ZREM', key('expiry'), index .. ' ' .. id)
  redis.call('ZREM', key('failed:' .. endpoint), id)
  redis.call('HDEL', delivery, 'reason', 'finished_at')
  redis.call('HSET', delivery, 'state', 'pending', 'record', record, 'fence', next_number())
  for _, it in ipairs({delivery, key('attempts:' .. id), key('event:' .. event_id)}) do
    redis.call('PERSIST', it)
  end
  redis.call('HINCRBY', key('event:' .. event_id), 'pending', 1)
  redis.call('ZADD', key('deliveries:pending'), seq, id)
  keep_endpoint(endpoint, id, now)
end
local timeline = key('timeline:' .. known[6] .. ':' .. known[7])
note(timeline, {string.format('[%.0f,"replay",{"delivery_id":"%s"}]', now, id)})
if not redis.call('ZSCORE', key('busy:' .. lane), id) then
  redis.call('ZADD', key('due:' .. lane), now, id)
end
return {state, index_lane(lane) <= now and summon(lane, now, alive_ms) and lane or ''}
