-- Claim one tracker, whatever its state and due time: to look at it now, or to cancel it.
-- ARGV: now, account, id, lease_ms, requests per second ('' = no request will be made)
-- Returns {now, 0, health, TRACKER}, or {now, wait_ms} when the account must not be asked now,
-- or {now} when there is no such tracker
local now, account, id, lease_ms, rate = clock(), ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local lane = 'poll:' .. account
if redis.call('EXISTS', key('tracker:' .. account .. ':' .. id)) == 0 then
  return {now}
end

local health = health_of(lane)
local wait_ms = rate and take_request(lane, tonumber(health[3] or 0), now, rate, lease_ms)
if wait_ms then
  return {now, wait_ms}
end
local claimed = claim_trackers(account, {id}, now + lease_ms)
index_lane(lane)
return {now, 0, health, claimed[1][2]}
