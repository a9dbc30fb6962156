-- Write what a look (or a cancel) made of a tracker, if nobody has claimed it since; an end is
-- written with its event and what is owed for it, or not at all.
-- ARGV: now, account, id, fence, state, record, next_at, generation ('' = as it was), retention_ms,
--   alive_ms, health version, reason, streak, held_until, detail ('' version = health unchanged),
--   number of timeline entries, the entries, then for an event: event id, type, body, and for
--   its delivery: delivery id, record, lane
-- Returns {1, lane whose drain the caller must start or ''}, or {0, ''} if the claim was stale
local now, account, id, fence, state = clock(), ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local retention_ms, alive_ms = tonumber(ARGV[9]), tonumber(ARGV[10])
local name, lane = account .. ':' .. id, 'poll:' .. account
local tracker, generation, timeline = key('tracker:' .. name), key('generation:' .. name), key('timeline:' .. name)

local function settle_health()
  local card = key('account:' .. account)
  if ARGV[11] ~= '' and tonumber(redis.call('HGET', card, 'version') or 0) == tonumber(ARGV[11]) then
    redis.call('HINCRBY', card, 'version', 1)
    redis.call('HSET', card, 'reason', ARGV[12], 'streak', ARGV[13], 'held_until', ARGV[14], 'detail', ARGV[15])
  end
end

local function finish(before, seq)
  local index = 'trackers:' .. account .. ':' .. state
  redis.call('ZREM', key('due:' .. lane), id)
  redis.call('ZREM', key('deadlines:' .. account), id)
  redis.call('ZREM', key('trackers:' .. account .. ':' .. before), id)
  redis.call('ZADD', key(index), seq, id)
  unlist_at(index, id, now + retention_ms)
  for _, it in ipairs({tracker, generation, timeline}) do
    redis.call('PEXPIRE', it, retention_ms)
  end
  redis.call('PUBLISH', key('ends'), name)
end

local function owe(event_id, first)
  local delivery_id, delivery_record, delivery_lane = ARGV[first], ARGV[first + 1], ARGV[first + 2]
  local seq = redis.call('INCR', key('seq'))
  redis.call('HINCRBY', key('event:' .. event_id), 'pending', 1)
  redis.call('HSET', key('delivery:' .. delivery_id), 'state', 'pending', 'seq', seq, 'fence', 0,
    'lane', delivery_lane, 'event_id', event_id, 'created_at', now, 'record', delivery_record)
  redis.call('ZADD', key('deliveries:pending'), seq, delivery_id)
  redis.call('ZADD', key('due:' .. delivery_lane), now, delivery_id)
  index_lane(delivery_lane)
  return summon(delivery_lane, now, alive_ms) and delivery_lane or ''
end

local function bear_event(first)
  local event_id, type, body = ARGV[first], ARGV[first + 1], ARGV[first + 2]
  local event = key('event:' .. event_id)
  redis.call('HSET', event, 'type', type, 'account', account, 'generation_id', id, 'body', body)
  redis.call('XADD', key('events'), 'MAXLEN', '~', 10000, '*', 'event_id', event_id, 'type', type,
    'account', account, 'generation_id', id)
  if ARGV[first + 3] then
    return owe(event_id, first + 3)
  end
  redis.call('PEXPIRE', event, retention_ms)
  return ''
end

settle_health()
local known = redis.call('HMGET', tracker, 'fence', 'state', 'seq', 'deadline_at')
local before = known[2]
if known[1] ~= fence or (before ~= 'tracking' and before ~= state) then
  index_lane(lane)
  return {0, ''}
end

redis.call('HSET', tracker, 'state', state, 'record', ARGV[6])
if ARGV[8] ~= '' and redis.call('GET', generation) ~= ARGV[8] then
  redis.call('SET', generation, ARGV[8], 'KEEPTTL')
end
local entries = {}
for i = 1, tonumber(ARGV[16]) do
  entries[i] = ARGV[16 + i]
end
note(timeline, entries)
if state == 'tracking' then
  redis.call('ZADD', key('due:' .. lane), ARGV[7], id)
  redis.call('ZADD', key('deadlines:' .. account), known[4], id)
elseif before == 'tracking' then
  finish(before, known[3])
end
index_lane(lane)

local event_at = 17 + #entries
return {1, ARGV[event_at] and bear_event(event_at) or ''}
