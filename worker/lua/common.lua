-- Put before every script: the clock, the key names' root, and how a lane is indexed and woken.
-- KEYS[1] is the deployment's prefix and ARGV[1] the time in ms ('' = this server's own clock).

local function key(name)
  return KEYS[1] .. ':' .. name
end

local function clock()
  if ARGV[1] ~= '' then
    return tonumber(ARGV[1])
  end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function first_score(zset)
  return tonumber(redis.call('ZRANGE', zset, 0, 0, 'WITHSCORES')[2])
end

-- Let a script go on when Redis is full: it is refused at its first write if that may take memory, and
-- once it has written it never is (in Redis 6.2 to 8 and Valkey). So the first takes none. What ends
-- work has to be written even then, since only what ends makes room.
local function go_on_when_full()
  redis.call('DEL', key('nothing'))
end

-- What the version that had no queues has left in a lane waits in the one that is named like it.
local function adopt(lane)
  local queues = key('queues:' .. lane)
  local first = not redis.call('ZSCORE', queues, lane) and first_score(key('due:' .. lane))
  if first then
    redis.call('ZADD', queues, first, lane)
  end
end

-- Note when `lane` next has something to do: its earliest due time (of a receiver's lane, that of its
-- queues), not before the end of its hold, but never after a deadline, which ends a tracker even
-- while its account is held. Returns that time, or nil when the lane is empty.
local function index_lane(lane)
  local account = lane:match('^poll:(.*)$')
  if not account then
    adopt(lane)
  end
  local at = first_score(key((account and 'due:' or 'queues:') .. lane))
  if at then
    at = math.max(at, tonumber(redis.call('HGET', key('card:' .. lane), 'held_until') or 0))
    at = math.ceil(at) -- the end of a lease has half a millisecond
    local deadline = account and first_score(key('deadlines:' .. account))
    if deadline then
      at = math.min(at, deadline)
    end
    redis.call('ZADD', key('lanes'), at, lane)
  else
    redis.call('ZREM', key('lanes'), lane)
  end
  return at
end

-- The health of a lane's account or receiver: {reason, streak, held_until, detail, version,
-- slowed_until, suspect}; the last two are an account's.
local function health_of(lane)
  return redis.call('HMGET', key('card:' .. lane), 'reason', 'streak', 'held_until', 'detail', 'version',
    'slowed_until', 'suspect')
end

-- List a receiver's lane as held until then, so that those that are can be counted; 0: it is not.
local function list_hold(lane, held_until)
  local held, now = key('held'), clock()
  redis.call('ZADD', held, held_until, lane)
  redis.call('ZREMRANGEBYSCORE', held, '-inf', now)
  redis.call('PEXPIRE', held, 86400000)
end

-- Write the health that ARGV holds from `first` (version, reason, streak, held_until, detail), if
-- it was concluded from the version that stands, or asks for a longer hold than that does: of two
-- answers at once no error may make a 429 unheard. '' = there is nothing to write. From when to
-- when it was held last, probes included, stands beside it. A receiver's is forgotten after a day,
-- so that receivers of long ago cost nothing. Returns whether it was written as it was concluded,
-- on the version that stood.
local function settle_health(lane, first)
  local card = key('card:' .. lane)
  local version = ARGV[first]
  if version == '' then
    return
  end
  local known = redis.call('HMGET', card, 'version', 'held_until')
  local is_stale = tonumber(known[1] or 0) ~= tonumber(version)
  local asks_to_wait = ARGV[first + 1] ~= '' and ARGV[first + 1] ~= 'unreachable'
  if is_stale and not (asks_to_wait and tonumber(ARGV[first + 3]) > tonumber(known[2] or 0)) then
    return
  end
  redis.call('HINCRBY', card, 'version', 1)
  redis.call('HSET', card, 'reason', ARGV[first + 1], 'streak', ARGV[first + 2], 'held_until',
    ARGV[first + 3], 'detail', ARGV[first + 4])
  local was_held, is_held = tonumber(known[2] or 0) > 0, tonumber(ARGV[first + 3]) > 0
  if was_held ~= is_held then
    redis.call('HSET', card, is_held and 'held_since' or 'freed_at', clock())
  end
  if not lane:find('^poll:') then
    redis.call('PEXPIRE', card, 86400000)
    if was_held or is_held then
      list_hold(lane, ARGV[first + 3])
    end
  end
  return not is_stale
end

-- Work has come due in `lane`: wake its drain if that sleeps; true if it has none and the caller
-- must start one. The marker holds the time until which the drain sleeps, 0 when it is awake. A
-- caller that dies before it starts the drain is made up for when the marker has gone.
local function summon(lane, at, alive_ms)
  local marker = key('drain:' .. lane)
  local asleep_until = redis.call('GET', marker)
  if not asleep_until then
    redis.call('SET', marker, 0, 'PX', alive_ms)
    return true
  end
  if tonumber(asleep_until) > at then
    redis.call('SET', marker, 0, 'KEEPTTL')
    redis.call('PUBLISH', key('bell'), lane)
  end
  return false
end

-- The drain of `lane` is alive for another `alive_ms` and sleeps until `asleep_until` (0: awake).
local function beat(lane, alive_ms, asleep_until)
  redis.call('SET', key('drain:' .. lane), asleep_until, 'PX', alive_ms)
end

-- Add entries to a timeline that exists, keeping the newest 200.
local function note(timeline, entries)
  if #entries > 0 and redis.call('RPUSHX', timeline, unpack(entries)) > 0 then
    redis.call('LTRIM', timeline, -200, -1)
  end
end

-- List `member` under `index` until `at`, when the sweep takes it out.
local function unlist_at(index, member, at)
  redis.call('ZADD', key('expiry'), at, index .. ' ' .. member)
end

-- The requests per second that an account may make at `now`, of the `rate` that is configured: after
-- a 429 fewer, and a tenth of `rate` more with each minute until `slowed_until` (policy.rate_share).
local function rate_at(card, now, rate)
  local slowed_until = tonumber(redis.call('HGET', card, 'slowed_until') or 0)
  return rate * math.max(0.05, math.min(1, 1 - (slowed_until - now) / 600000))
end

-- The tokens in an account's bucket at `now`: it fills at `rate` a second, up to a second's worth.
local function tokens_at(card, now, rate)
  local bucket = redis.call('HMGET', card, 'tokens', 'refilled_at')
  local full = math.max(1, rate)
  local elapsed = math.max(0, now - tonumber(bucket[2] or 0))
  return math.min(full, tonumber(bucket[1] or full) + elapsed / 1000 * rate)
end

-- Take `n` of the `tokens` there are at `now`. `spent` is how many were taken lately, each counting
-- less with time: divided by 60 it is the requests per second of the last minute or so.
local function spend(card, now, tokens, n)
  local was = redis.call('HMGET', card, 'spent', 'refilled_at')
  local since = math.max(0, now - tonumber(was[2] or now))
  local spent = tonumber(was[1] or 0) * math.exp(-since / 60000) + n
  redis.call('HSET', card, 'tokens', tokens - n, 'refilled_at', now, 'spent', spent)
end

-- Take one request from an account's budget; if it is held, this is then the probe. Returns in how
-- many ms it may be asked if it must not be asked now.
local function take_request(lane, held_until, now, rate, lease_ms)
  local card = key('card:' .. lane)
  rate = rate_at(card, now, rate)
  local tokens = tokens_at(card, now, rate)
  if held_until > now then
    return held_until - now
  elseif tokens < 1 then
    return math.ceil((1 - tokens) / rate * 1000)
  end
  spend(card, now, tokens, 1)
  if held_until > 0 then
    redis.call('HSET', card, 'held_until', now + lease_ms, 'probe_until', now + lease_ms)
  end
end

-- The fields of a tracker, in the order in which records.py reads them.
local TRACKER = {'state', 'fence', 'seq', 'tracked_at', 'deadline_at', 'terms', 'record', 'watched'}

-- Lease trackers: each falls due again when the lease ends, unless it has been settled by then. The
-- half millisecond marks it as claimed: what is merely due has whole ones. Its
-- fence stays: of several looks at once the first to be settled counts, since one answer is as good
-- as another, and who asks again and again would see no end if only the last one did. A finished
-- tracker is in no queue and gets no lease. Returns {id, TRACKER} of each, without those that a queue
-- still names although they have gone.
local function claim_trackers(account, ids, leased_until)
  local due, deadlines = key('due:poll:' .. account), key('deadlines:' .. account)
  local claimed, leases = {}, {}
  for _, id in ipairs(ids) do
    local row = redis.call('HMGET', key('tracker:' .. account .. ':' .. id), unpack(TRACKER))
    if row[1] == 'tracking' then
      leases[#leases + 1] = leased_until - 0.5
      leases[#leases + 1] = id
      if tonumber(row[5]) < leased_until then
        redis.call('ZADD', deadlines, 'XX', 'GT', leased_until, id)
      end
    else
      redis.call('ZREM', due, id)
      redis.call('ZREM', deadlines, id)
    end
    if row[1] then
      claimed[#claimed + 1] = {id, row}
    end
  end
  if #leases > 0 then
    redis.call('ZADD', due, unpack(leases))
  end
  return claimed
end

-- The next of the numbers that are given out once: places in the lists, and fences. Every settle
-- gives its record a new fence, so that whatever was decided on the record as it was before, even
-- the same settle sent twice, finds another fence than it has seen and changes nothing.
local function next_number()
  return redis.call('INCR', key('seq'))
end

-- Take so many of them at once; returns the first.
local function next_numbers(count)
  return redis.call('INCRBY', key('seq'), count) - count + 1
end
