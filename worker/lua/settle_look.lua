-- Write what a look (or a cancel) made of a tracker, if nobody has settled it since it was claimed;
-- an end is written with its event and what is owed for it, or not at all.
-- ARGV: now, account, id, fence, state, record, next_at, retention_ms, alive_ms,
--   health version, reason, streak, held_until, detail ('' version = health unchanged),
--   number of timeline entries, the entries, then for an event: event id, type, body, and for
--   its delivery: delivery id, record, lane
-- Returns {1, lane whose drain the caller must start or ''}, or {0, ''} if it was settled since
local now, account, id, fence, state = clock(), ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local retention_ms, alive_ms = tonumber(ARGV[8]), tonumber(ARGV[9])
local name, lane = account .. ':' .. id, 'poll:' .. account
local tracker, timeline = key('tracker:' .. name), key('timeline:' .. name)

local function settle_health()
  local card = key('account:' .. account)
  if ARGV[10] ~= '' and tonumber(redis.call('HGET', card, 'version') or 0) == tonumber(ARGV[10]) then
    redis.call('HINCRBY', card, 'version', 1)
    redis.call('HSET', card, 'reason', ARGV[11], 'streak', ARGV[12], 'held_until', ARGV[13], 'detail', ARGV[14])
  end
end

local function finish(before, seq)
  local index = 'trackers:' .. account .. ':' .. state
  redis.call('ZREM', key('due:' .. lane), id)
  redis.call('ZREM', key('deadlines:' .. account), id)
  redis.call('ZREM', key('trackers:' .. account .. ':' .. before), id)
  redis.call('ZADD', key(index), seq, id)
  unlist_at(index, id, now + retention_ms)
  redis.call('PEXPIRE', tracker, retention_ms)
  redis.call('PEXPIRE', timeline, retention_ms)
  redis.call('PUBLISH', key('ends'), name)
end

local function owe(event_id, first)
  local delivery_id, delivery_record, delivery_lane = ARGV[first], ARGV[first + 1], ARGV[first + 2]
  local seq = next_number()
  redis.call('HINCRBY', key('event:' .. event_id), 'pending', 1)
  redis.call('HSET', key('delivery:' .. delivery_id), 'state', 'pending', 'seq', seq, 'fence', seq,
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

redis.call('HSET', tracker, 'state', state, 'record', ARGV[6], 'fence', next_number())
local entries = {}
for i = 1, tonumber(ARGV[15]) do
  entries[i] = ARGV[15 + i]
end
note(timeline, entries)
if state == 'tracking' then
  redis.call('ZADD', key('due:' .. lane), ARGV[7], id)
  redis.call('ZADD', key('deadlines:' .. account), known[4], id)
elseif before == 'tracking' then
  finish(before, known[3])
end
index_lane(lane)

local event_at = 16 + #entries
if ARGV[event_at] and before == 'tracking' then -- what is over has had its event
  return {1, bear_event(event_at)}
end
return {1, ''}
