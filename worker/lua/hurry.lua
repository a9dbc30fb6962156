-- Make a tracker's next look due now.
-- ARGV: now, account, id, alive_ms
-- Returns {state or nil, must_start}
local now, account, id = clock(), ARGV[2], ARGV[3]
local lane = 'poll:' .. account
local state = redis.call('HGET', key('tracker:' .. account .. ':' .. id), 'state')
if state ~= 'tracking' then
  return {state, 0}
end
redis.call('ZADD', key('due:' .. lane), 'LT', now, id) -- if overdue, it keeps its place
local must_start = index_lane(lane) <= now and summon(lane, now, tonumber(ARGV[4]))
return {state, must_start and 1 or 0}
