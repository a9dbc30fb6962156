-- Write what looks that showed nothing new made of their trackers, each unless somebody has settled
-- it since it was claimed.
-- ARGV: now, account, how many, and all of them as lines, four for each tracker: id, fence, next_at,
--   watched
-- Returns for each 1 if it was written, else 0
local account = ARGV[2]
local lane = 'poll:' .. account
local due, written = {}, {}
local fence = next_numbers(tonumber(ARGV[3]))
local line = '([^\n]*)\n'
for id, seen, next_at, watched in ARGV[4]:gmatch(line:rep(4)) do
  local tracker = key('tracker:' .. account .. ':' .. id)
  local applies = redis.call('HGET', tracker, 'fence') == seen -- so it is tracked, as it was when claimed
  if applies then
    redis.call('HSET', tracker, 'watched', watched, 'fence', fence + #written)
    due[#due + 1] = next_at
    due[#due + 1] = id
  end
  written[#written + 1] = applies and 1 or 0
end
if #due > 0 then
  redis.call('ZADD', key('due:' .. lane), unpack(due))
end
index_lane(lane)
return written
