-- Put before every script, behind common.lua: how tracking begins, and how a look is brought forward.

-- Track generations of one account: new ones are due at once; known ones are compared by terms. ARGV
-- holds from `first` on, for each of up to 1,000: id, terms, deadline_ms. Returns whether the caller
-- must start the lane's drain, and the outcomes: new, same or conflict.
local function track(now, account, alive_ms, record, first)
  local lane = 'poll:' .. account
  local tracked = string.format('[%.0f,"tracked"]', now)
  local outcomes = {}

  -- The first look is at once, or soon after with the next page of the provider's list, if pages
  -- are looked at: one of them then shows all that were tracked by then.
  local page_at = tonumber(redis.call('HGET', key('card:' .. lane), 'page_at') or 0)
  local first_at = math.min(math.max(now, page_at), now + 3000)

  -- What is to be listed, as ZADD takes it: one command for each list and none for each ID, since
  -- every one of them is also written to the append-only file.
  local seq, listed, due, deadlines = nil, {}, {}, {}

  local function begin_anew(id, tracker, timeline, state)
    local index = 'trackers:' .. account .. ':' .. state
    redis.call('ZREM', key(index), id)
    redis.call('ZREM', key('expiry'), index .. ' ' .. id)
    redis.call('HDEL', tracker, 'watched', 'webhook')
    redis.call('PERSIST', tracker)
    redis.call('PERSIST', timeline)
  end

  local function start(id, tracker, state, terms, deadline_ms)
    local timeline = key('timeline:' .. account .. ':' .. id)
    if not seq then -- the first write: if Redis is full it is here that `track` is refused
      local most = (#ARGV - first + 1) / 3
      seq = redis.call('INCRBY', key('seq'), most) - most
    end
    if state then
      begin_anew(id, tracker, timeline, state)
    end
    seq = seq + 1
    redis.call('HSET', tracker, 'state', 'tracking', 'fence', seq, 'seq', seq, 'tracked_at', now,
      'deadline_at', now + deadline_ms, 'terms', terms, 'record', record)
    redis.call('RPUSH', timeline, tracked)
    if state then
      redis.call('LTRIM', timeline, -200, -1)
    end
    local n = #due
    listed[n + 1], listed[n + 2] = seq, id
    due[n + 1], due[n + 2] = first_at, id
    deadlines[n + 1], deadlines[n + 2] = now + deadline_ms, id
  end

  for i = first, #ARGV, 3 do
    local id, terms, deadline_ms = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
    local tracker = key('tracker:' .. account .. ':' .. id)
    local known = redis.call('HMGET', tracker, 'state', 'terms')
    local state = known[1]
    if not state or state == 'expired' or state == 'canceled' then
      start(id, tracker, state, terms, deadline_ms)
      outcomes[#outcomes + 1] = 'new'
    elseif known[2] == terms then
      outcomes[#outcomes + 1] = 'same'
    else
      outcomes[#outcomes + 1] = 'conflict'
    end
  end

  local must_start = false
  if #due > 0 then
    redis.call('ZADD', key('trackers:' .. account .. ':tracking'), unpack(listed))
    redis.call('ZADD', key('due:' .. lane), unpack(due))
    redis.call('ZADD', key('deadlines:' .. account), unpack(deadlines))
    -- While the account is held there is nothing for a drain to do.
    must_start = index_lane(lane) <= first_at and summon(lane, first_at, alive_ms)
  end
  return must_start, outcomes
end

-- Make a tracker's next look due now, if it is tracked. Returns its state (nil: there is no such
-- tracker) and whether the caller must start the lane's drain.
local function hurry(now, account, id, alive_ms)
  local lane = 'poll:' .. account
  local state = redis.call('HGET', key('tracker:' .. account .. ':' .. id), 'state')
  if state ~= 'tracking' then
    return state, false
  end
  redis.call('ZADD', key('due:' .. lane), 'LT', now, id) -- if overdue, it keeps its place
  return state, index_lane(lane) <= now and summon(lane, now, alive_ms)
end
