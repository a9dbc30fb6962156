-- Claim the deliveries that are due in one receiver's lane, as far as the receiver's health and
-- each endpoint's concurrency allow, over all workers.
-- ARGV: now, lane, limit, lease_ms, alive_ms, retention_ms
-- Returns {now, wake_at (-1 = nothing ahead), health, rows}; health = {reason, streak, held_until,
--   detail, version}; row = {id, event body, HGETALL of the delivery, HGETALL of its endpoint}
local now, lane, limit = clock(), ARGV[2], tonumber(ARGV[3])
local lease_ms, alive_ms, retention_ms = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local due, busy, card = key('due:' .. lane), key('busy:' .. lane), key('card:' .. lane)
local leased_until = now + lease_ms

local function value_of(row, name)
  for i = 1, #row, 2 do
    if row[i] == name then
      return row[i + 1]
    end
  end
end

local health = health_of(lane)
local held_until = tonumber(health[3] or 0)
if held_until > now then
  limit = 0
elseif held_until > 0 then
  limit = math.min(limit, 1) -- after a hold one probe goes first, until it has an answer
end

redis.call('ZREMRANGEBYSCORE', busy, '-inf', now)
local under_way = redis.call('ZCARD', busy)
local rows, full = {}, false
for _, id in ipairs(limit > 0 and redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, limit) or {}) do
  local delivery = key('delivery:' .. id)
  local found = redis.call('HMGET', delivery, 'state', 'event_id', 'endpoint')
  local body = found[2] and redis.call('HGET', key('event:' .. found[2]), 'body')
  if found[1] ~= 'pending' or not body then
    redis.call('ZREM', due, id)
  else
    local endpoint = redis.call('HGETALL', key('endpoint:' .. found[3]))
    if value_of(endpoint, 'enabled') ~= '1' then
      give_up(id, value_of(endpoint, 'enabled'), now, retention_ms)
    elseif under_way >= tonumber(value_of(endpoint, 'concurrency') or 8) then
      full = true
      break
    else
      under_way = under_way + 1
      redis.call('HSET', delivery, 'fence', next_number())
      redis.call('ZADD', due, leased_until, id)
      redis.call('ZADD', busy, leased_until, id)
      rows[#rows + 1] = {id, body, redis.call('HGETALL', delivery), endpoint}
    end
  end
end

if #rows > 0 and held_until > 0 then
  redis.call('HSET', card, 'held_until', leased_until)
end
local wake_at = index_lane(lane)
local asleep_until = wake_at and (wake_at > now and wake_at or 0) or leased_until
if full then
  wake_at = now + alive_ms / 3 -- others may have what is under way in hand; see again soon
end
beat(lane, alive_ms, asleep_until)
return {now, wake_at or -1, health, rows}
