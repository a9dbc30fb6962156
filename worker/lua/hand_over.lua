-- A drain at the end of its time gives up its lane: if work is due soon, the caller starts the next drain.
-- ARGV: now, lane, linger_ms, alive_ms
-- Returns 1 if the caller must start a drain, else 0
local now, lane, linger_ms, alive_ms = clock(), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local at = index_lane(lane)
redis.call('DEL', key('drain:' .. lane))
if at and at <= now + linger_ms then
  return summon(lane, at, alive_ms) and 1 or 0
end
return 0
