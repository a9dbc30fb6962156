-- Write what a look (or a cancel) made of a tracker, if nobody has claimed it since; an end is
-- written with its event and what is owed for it, or not at all.
-- ARGV: now, account, id, fence, state, record, next_at, generation ('' = as it was), retention_ms,
--   alive_ms, health version, reason, streak, held_until, detail ('' version = health unchanged),
--   number of timeline entries, the entries, then for an event: event id, type, body, and for
--   its delivery: delivery id, endpoint, url, lane, record
-- Returns {1, lane whose drain the caller must start or ''}, or {0, ''} if the claim was stale
local now, account, id, fence, state = clock(), ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local retention_ms, alive_ms = tonumber(ARGV[9]), tonumber(ARGV[10])
local name, lane = account .. ':' .. id, 'poll:' .. account
local tracker, generation, timeline = key('tracker:' .. name), key('generation:' .. name), key('timeline:' .. name)

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

settle_health(lane, 11)
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
return {1, ARGV[event_at] and bear_event(event_at, account, id, now, alive_ms, retention_ms) or ''}
