-- Find the lanes that have work due, or will within `ahead_ms`, and no drain alive; the caller must
-- start theirs.
-- ARGV: now, how many at most, alive_ms, ahead_ms
-- Returns the lanes
local soon, limit, alive_ms = clock() + ARGV[4], tonumber(ARGV[2]), tonumber(ARGV[3])
local waiting = {}
for _, lane in ipairs(redis.call('ZRANGEBYSCORE', key('lanes'), '-inf', soon)) do
  if #waiting == limit then
    break
  end
  if redis.call('SET', key('drain:' .. lane), 0, 'NX', 'PX', alive_ms) then
    waiting[#waiting + 1] = lane
  end
end
return waiting
