-- Write what an attempt made of a delivery, if nobody has claimed it since, and what it says of
-- its receiver and its endpoint.
-- ARGV: now, delivery id, fence, state, reason, record, next_at, attempt, timeline entry,
--   retention_ms, health version, reason, streak, held_until, detail ('' version = unchanged),
--   outcome (ok, failed), the endpoint's failing_since as it was read ('' = none), failing_since
--   and failing_days as they follow from it ('' = unchanged), what it failed with, and if it
--   switches the endpoint off: why, whether that rests on failing_since (1 or 0), the URL it was
--   called at, event id, event type, event body
-- Returns {1, whether the endpoint was switched off, whether the health was written as it was
--   concluded}, or {0, 0, that} if the claim was stale
local now, id, fence, state = clock(), ARGV[2], ARGV[3], ARGV[4]
local retention_ms, outcome, read_since, since = tonumber(ARGV[10]), ARGV[16], ARGV[17], ARGV[18]
local off, rests_on_since, url, off_event = ARGV[21], ARGV[22] == '1', ARGV[23], ARGV[24]
local delivery, attempts = key('delivery:' .. id), key('attempts:' .. id)
local known = delivery_of(id)
if not known then
  return {0, 0, 0}
end
local told = settle_health(known.lane, 11) and 1 or 0
if known.fence ~= fence or known.state ~= 'pending' then
  index_lane(known.lane)
  return {0, 0, told}
end

local name = known.endpoint
local endpoint, switched_off = key('endpoint:' .. name), 0
local is = redis.call('HMGET', endpoint, 'enabled', 'failing_since', 'lane', 'concurrency', 'url')
local enabled, failing_since, next_at = is[1], is[2], ARGV[7]
if enabled and outcome == 'ok' and failing_since then
  forget_failures(name, enabled)
elseif enabled and outcome == 'failed' then
  if since ~= '' and (failing_since or '') == read_since then
    redis.call('HSET', endpoint, 'failing_since', since, 'failed_at', now, 'failing_days', ARGV[19])
  elseif not failing_since then -- a success came between: this failure is the first since
    redis.call('HSET', endpoint, 'failing_since', now, 'failed_at', now, 'failing_days', 1)
  end
  redis.call('HSET', endpoint, 'failed_with', ARGV[20])
  trouble(name, now)
end
if off and enabled == '1' and is[5] ~= url then
  if ARGV[5] == 'endpoint_disabled' then
    state, next_at = 'pending', now -- gone is where it was called; what it is owed has moved along
  end
elseif off and enabled == '1' and not (rests_on_since and (failing_since or '') ~= read_since) then
  switched_off, enabled = 1, '0'
  bear_event(24, '', '', now, 0, retention_ms)
  disable_endpoint(name, off, off_event, now)
end

redis.call('HSET', delivery, 'record', ARGV[6], 'fence', next_number())
if redis.call('RPUSH', attempts, ARGV[8]) > 50 then
  redis.call('LTRIM', attempts, -50, -1)
end
note(key('timeline:' .. known.account .. ':' .. known.generation_id), {ARGV[9]})

local lane = is[3] or known.lane -- its endpoint may have moved, or have got a queue of its own
local queue = is[4] and name or lane
if state == 'pending' and enabled == '1' then
  redis.call('ZREM', key('busy:' .. known.queue), id)
  if queue ~= known.queue then
    redis.call('ZREM', key('due:' .. known.queue), id)
    redis.call('HSET', delivery, 'queue', queue)
  end
  redis.call('ZADD', key('due:' .. queue), next_at, id)
  index_queue(lane, queue, now)
elseif state == 'pending' then
  give_up(id, known, enabled, now, retention_ms) -- it was under way when its endpoint was released
else
  finish_delivery(id, known, state, ARGV[5], now, retention_ms)
  say('delivery.' .. state, known.event_id, known.account, known.generation_id, 'delivery_id', id,
    'endpoint', name, 'reason', ARGV[5])
end
index_queue(known.queue == name and lane or known.queue, known.queue, now) -- there is room again
index_lane(lane)
if lane ~= known.lane then
  index_lane(known.lane)
end
return {1, switched_off, told}
