-- Claim one request of an account, for an answer that is about no tracker in particular.
-- ARGV: now, account, lease_ms, requests per second
-- Returns {now, 0, health}, or {now, wait_ms} when the account must not be asked now
local now, lane = clock(), 'poll:' .. ARGV[2]
local health = health_of(lane)
local wait_ms = take_request(lane, tonumber(health[3] or 0), now, tonumber(ARGV[4]), tonumber(ARGV[3]))
if wait_ms then
  return {now, wait_ms}
end
index_lane(lane)
return {now, 0, health}
