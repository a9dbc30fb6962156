-- A drain asks to end: it may, if its lane has nothing to do within `linger_ms`.
-- ARGV: now, lane, linger_ms
-- Returns 1 if it may (its marker is gone, so whatever comes due next summons a new drain), else 0
local now, lane, linger_ms = clock(), ARGV[2], tonumber(ARGV[3])
local at = index_lane(lane)
if at and at <= now + linger_ms then
  return 0
end
redis.call('DEL', key('drain:' .. lane))
return 1
