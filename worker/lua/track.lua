-- Track generations of one account: new ones are due at once; known ones are compared by terms.
-- ARGV: now, account, alive_ms, record, then for each generation: id, terms, deadline_ms
-- Returns {now, must_start, outcomes}: new, same or conflict
local now, account, alive_ms, record = clock(), ARGV[2], tonumber(ARGV[3]), ARGV[4]
local lane = 'poll:' .. account
local outcomes, added = {}, false

local function start(id, tracker, state, terms, deadline_ms)
  local seq = redis.call('INCR', key('seq'))
  local timeline = key('timeline:' .. account .. ':' .. id)
  if state then
    local index = 'trackers:' .. account .. ':' .. state
    redis.call('ZREM', key(index), id)
    redis.call('ZREM', key('expiry'), index .. ' ' .. id)
    redis.call('PERSIST', tracker)
    redis.call('PERSIST', timeline)
    redis.call('DEL', key('generation:' .. account .. ':' .. id))
  end
  redis.call('HINCRBY', tracker, 'fence', 1)
  redis.call('HSET', tracker, 'state', 'tracking', 'seq', seq, 'tracked_at', now,
    'deadline_at', now + deadline_ms, 'terms', terms, 'record', record)
  redis.call('RPUSH', timeline, string.format('[%.0f,"tracked"]', now))
  redis.call('ZADD', key('trackers:' .. account .. ':tracking'), seq, id)
  redis.call('ZADD', key('due:' .. lane), now, id)
  redis.call('ZADD', key('deadlines:' .. account), now + deadline_ms, id)
end

for i = 5, #ARGV, 3 do
  local id, terms, deadline_ms = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local tracker = key('tracker:' .. account .. ':' .. id)
  local known = redis.call('HMGET', tracker, 'state', 'terms')
  local state = known[1]
  if not state or state == 'expired' or state == 'canceled' then
    added = true
    start(id, tracker, state, terms, deadline_ms)
    outcomes[#outcomes + 1] = 'new'
  elseif known[2] == terms then
    outcomes[#outcomes + 1] = 'same'
  else
    outcomes[#outcomes + 1] = 'conflict'
  end
end

local must_start = false
if added then
  index_lane(lane)
  must_start = summon(lane, now, alive_ms)
end
return {now, must_start and 1 or 0, outcomes}
