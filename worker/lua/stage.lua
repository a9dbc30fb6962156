-- Find the lanes that have work due and no drain alive; the caller must start theirs.
-- ARGV: now, limit, alive_ms
-- Returns the lanes
local now, limit, alive_ms = clock(), ARGV[2], tonumber(ARGV[3])
local waiting = {}
for _, lane in ipairs(redis.call('ZRANGEBYSCORE', key('lanes'), '-inf', now, 'LIMIT', 0, limit)) do
  if redis.call('SET', key('drain:' .. lane), 0, 'NX', 'PX', alive_ms) then
    waiting[#waiting + 1] = lane
  end
end
return waiting
