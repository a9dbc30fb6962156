-- Claim one tracker, whatever its state and due time: to look at it now, or to cancel it.
-- ARGV: now, account, id, lease_ms, requests per second ('' = no request will be made)
-- Returns {now, 0, health, HGETALL}, or {now, wait_ms} when the account must not be asked now,
-- or {now} when there is no such tracker
local now, account, id, lease_ms, rate = clock(), ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local lane = 'poll:' .. account
local card = key('card:' .. lane)
if redis.call('EXISTS', key('tracker:' .. account .. ':' .. id)) == 0 then
  return {now}
end

local health = health_of(lane)
if rate then
  local held_until = tonumber(health[3] or 0)
  rate = rate_at(card, now, rate)
  local tokens = tokens_at(card, now, rate)
  if held_until > now then
    return {now, held_until - now}
  elseif tokens < 1 then
    return {now, math.ceil((1 - tokens) / rate * 1000)}
  end
  spend(card, now, tokens, 1)
  if held_until > 0 then
    redis.call('HSET', card, 'held_until', now + lease_ms) -- this is the probe
  end
end
local row = claim_tracker(account, id, now + lease_ms)
index_lane(lane)
return {now, 0, health, row[2]}
