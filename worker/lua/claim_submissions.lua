-- Claim the submissions whose outcome is to be found out now: whoever made the call has died, or got
-- no answer.
-- ARGV: now, limit, lease_ms, window_ms, how many rivals at most
-- Returns {now, each as {id, HGETALL, rivals}}: the IDs of others of its account that have no token,
-- were begun within `window_ms` of it, and of which nobody knows what came; more than so many at most
-- if there are more
local now, window_ms = clock(), tonumber(ARGV[4])

local function rivals_of(id, account, begun_at)
  local near = redis.call('ZRANGEBYSCORE', key('open:' .. account), begun_at - window_ms,
    begun_at + window_ms, 'LIMIT', 0, ARGV[5] + 2) -- itself, and one that shows that there are more
  local rivals = {}
  for _, other in ipairs(near) do
    if other ~= id then
      rivals[#rivals + 1] = other
    end
  end
  return rivals
end

local claimed = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('unsettled'), '-inf', now, 'LIMIT', 0, ARGV[2])) do
  local submission = key('submission:' .. id)
  local known = redis.call('HMGET', submission, 'account', 'begun_at', 'token')
  if known[1] then
    redis.call('ZADD', key('unsettled'), now + tonumber(ARGV[3]), id)
    local rivals = known[3] == '' and rivals_of(id, known[1], tonumber(known[2])) or {}
    claimed[#claimed + 1] = {id, redis.call('HGETALL', submission), rivals}
  else
    redis.call('ZREM', key('unsettled'), id)
  end
end
return {now, claimed}
