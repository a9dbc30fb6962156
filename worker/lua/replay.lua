-- Owe a finished delivery again, from its first attempt on; one that is pending becomes due now.
-- ARGV: now, delivery id, fence as it was read, record to be, alive_ms
-- Returns {state before, lane whose drain the caller must start or ''}: state '' = there is none,
--   'disabled' = its endpoint is off, 'gone' = its endpoint or event is no longer kept, 'changed' =
--   it is finished and was not when it was read: its schedule would not begin anew
local now, id, fence, record, alive_ms = clock(), ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local delivery, known = key('delivery:' .. id), delivery_of(id)
if not known then
  return {'', ''}
end
local state, event_id, endpoint = known.state, known.event_id, known.endpoint
local is = redis.call('HMGET', key('endpoint:' .. endpoint), 'enabled', 'lane', 'concurrency')
if not is[1] or redis.call('EXISTS', key('event:' .. event_id)) == 0 then
  return {'gone', ''}
elseif is[1] == '0' then
  return {'disabled', ''}
elseif state ~= 'pending' and known.fence ~= fence then
  return {'changed', ''}
end

local timeline = key('timeline:' .. known.account .. ':' .. known.generation_id)
note(timeline, {string.format('[%.0f,"replay",{"delivery_id":"%s"}]', now, id)})
if state == 'pending' then
  if tonumber(redis.call('ZSCORE', key('busy:' .. known.queue), id) or 0) > now then
    return {state, ''} -- whoever has it in hand settles it
  elseif known.fence == fence then
    redis.call('HSET', delivery, 'record', record)
  end
else
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
  redis.call('ZADD', key('deliveries:pending'), known.seq, id)
  keep_endpoint(endpoint, id, now)
end

local lane = is[2] or known.lane -- its endpoint may have moved since
local queue = is[3] and endpoint or lane
if queue ~= known.queue then
  redis.call('ZREM', key('due:' .. known.queue), id)
  redis.call('ZREM', key('busy:' .. known.queue), id)
  redis.call('HSET', delivery, 'queue', queue)
end
redis.call('ZADD', key('due:' .. queue), now, id)
redis.call('ZADD', key('queues:' .. lane), 'LT', now, queue)
return {state, start_if_due(lane, now, alive_ms)}
