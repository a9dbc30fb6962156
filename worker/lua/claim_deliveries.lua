-- Claim the deliveries that are due in one receiver's lane, as far as the receiver's health and the
-- concurrency of each queue allow, over all workers. A queue that is full holds up no other.
-- ARGV: now, lane, limit, lease_ms, alive_ms, retention_ms, concurrency of the bare callback URLs,
--   1 if the marker is another drain's
-- Returns {now, wake_at (-1 = nothing ahead), health, {held_since, freed_at}, endpoints, rows};
--   health as `health_of` has it; endpoints = name, HGETALL, name, …; row = {id, fence, event body,
--   HGETALL of the delivery}
local now, lane, limit = clock(), ARGV[2], tonumber(ARGV[3])
local lease_ms, alive_ms, retention_ms = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local leased_until = now + lease_ms
local endpoints, named, rows = {}, {}, {}

local function table_of(row)
  local found = {}
  for i = 1, #row, 2 do
    found[row[i]] = row[i + 1]
  end
  return found
end

-- Read an endpoint, once: many deliveries of a claim have the same.
local function endpoint_of(name)
  if not named[name] then
    local row = redis.call('HGETALL', key('endpoint:' .. name))
    named[name] = table_of(row)
    endpoints[#endpoints + 1], endpoints[#endpoints + 2] = name, row
  end
  return named[name]
end

-- Claim up to `most` from a queue. Returns how many were seen, and how many of those were claimed.
local function claim_from(queue, most)
  local due, leases = key('due:' .. queue), {}
  local ids = redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, most)
  local fence = #ids > 0 and redis.call('INCRBY', key('seq'), #ids)
  for i, id in ipairs(ids) do
    local delivery = key('delivery:' .. id)
    local row = redis.call('HGETALL', delivery)
    local known = table_of(row)
    known.queue = queue
    local body = known.state == 'pending' and redis.call('HGET', key('event:' .. known.event_id), 'body')
    if not body then
      redis.call('ZREM', due, id)
    elseif endpoint_of(known.endpoint).enabled == '1' then
      redis.call('HSET', delivery, 'fence', fence - i, 'lane', lane)
      leases[#leases + 1], leases[#leases + 2] = leased_until, id
      rows[#rows + 1] = {id, fence - i, body, row}
    else
      give_up(id, known, endpoint_of(known.endpoint).enabled, now, retention_ms)
    end
  end
  if #leases > 0 then
    redis.call('ZADD', due, unpack(leases))
    redis.call('ZADD', key('busy:' .. queue), unpack(leases))
  end
  return #ids, #leases / 2
end

local health = health_of(lane)
local held_until = tonumber(health[3] or 0)
if held_until > now then
  limit = 0
elseif held_until > 0 then
  limit = math.min(limit, 1) -- after a hold one probe goes first, until it has an answer
end

adopt(lane)
local left = limit
local queues = redis.call('ZRANGEBYSCORE', key('queues:' .. lane), '-inf', now, 'LIMIT', 0, limit)
for _, queue in ipairs(queues) do
  local own = queue == lane and {concurrency = ARGV[7]} or endpoint_of(queue)
  if left == 0 then
    break
  elseif queue ~= lane and own.lane and own.lane ~= lane then
    redis.call('ZREM', key('queues:' .. lane), queue) -- deleted, and made anew elsewhere
  else
    local under_way = redis.call('ZCOUNT', key('busy:' .. queue), now + 1, '+inf')
    local room = math.max(0, tonumber(own.concurrency or ARGV[7]) - under_way)
    local seen, claimed = 0, 0
    if room > 0 then
      seen, claimed = claim_from(queue, math.min(room, left))
    end
    left = left - seen
    -- What is under way may be in other hands: a full queue is looked at again soon.
    index_queue(lane, queue, claimed == room and now + math.floor(alive_ms / 3) or 0)
  end
end

if #rows > 0 and held_until > 0 then
  redis.call('HSET', key('card:' .. lane), 'held_until', leased_until, 'probe_until', leased_until)
  list_hold(lane, leased_until)
end
local wake_at = index_lane(lane)
if limit > 0 and #rows == 0 and wake_at and wake_at <= now then
  wake_at = now + 1 -- all that was seen is full, or was given up; there is more
end
if ARGV[8] == '0' then
  beat(lane, alive_ms, wake_at and (wake_at > now and wake_at or 0) or leased_until)
end
local hold = redis.call('HMGET', key('card:' .. lane), 'held_since', 'freed_at')
return {now, wake_at or -1, health, hold, endpoints, rows}
