-- Write what a look (or a cancel) made of a tracker, if nobody has settled it since it was claimed;
-- an end is written with its event and what is owed for it, or not at all.
-- ARGV: now, account, id, fence, state, record, watched, next_at, retention_ms, alive_ms,
--   health version, reason, streak, held_until, detail, slowed_until, suspect ('' version = health
--   unchanged),
--   what was learned ('' = nothing) and how long it is kept in ms, number of timeline entries,
--   the entries, then for an event: event id, type, body, and for
--   its delivery: delivery id, endpoint, url, lane, record
-- Returns {1, lane whose drain the caller must start or ''}, or {0, ''} if it was settled since
local now, account, id, fence, state = clock(), ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local retention_ms, alive_ms = tonumber(ARGV[9]), tonumber(ARGV[10])
local name, lane = account .. ':' .. id, 'poll:' .. account
local tracker, timeline = key('tracker:' .. name), key('timeline:' .. name)

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

-- What nobody learns from must not pile up: ten thousand ends tell no more than the first thousand.
local function observe()
  local observed = key('observed:' .. account)
  if ARGV[18] ~= '' and redis.call('LLEN', observed) < 10000 then
    redis.call('RPUSH', observed, ARGV[18])
    redis.call('PEXPIRE', observed, ARGV[19])
  end
end

if settle_health(lane, 11) then -- of answers at once to one burst, the first alone slows it
  redis.call('HSET', key('card:' .. lane), 'slowed_until', ARGV[16], 'suspect', ARGV[17])
end
local known = redis.call('HMGET', tracker, 'fence', 'state', 'seq', 'deadline_at')
local before = known[2]
if known[1] ~= fence or (before ~= 'tracking' and before ~= state) then
  index_lane(lane)
  return {0, ''}
end

redis.call('HSET', tracker, 'state', state, 'record', ARGV[6], 'watched', ARGV[7], 'fence', next_number())
local entries = {}
for i = 1, tonumber(ARGV[20]) do
  entries[i] = ARGV[20 + i]
end
note(timeline, entries)
if state == 'tracking' then
  redis.call('ZADD', key('due:' .. lane), ARGV[8], id)
  redis.call('ZADD', key('deadlines:' .. account), known[4], id)
elseif before == 'tracking' then
  finish(before, known[3])
end
if before == 'tracking' then
  observe()
end
index_lane(lane)

local event_at = 21 + #entries
if ARGV[event_at] and before == 'tracking' then -- what is over has had its event
  return {1, bear_event(event_at, account, id, now, alive_ms, retention_ms)}
end
return {1, ''}
