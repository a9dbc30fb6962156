-- Write what looks that showed nothing new made of their trackers, each unless somebody has settled
-- it since it was claimed. In a timeline a run of such looks is one line.
-- ARGV: now, account, how many, and all of them as lines, seven for each tracker: id, fence, next_at,
--   looks, and of its line in the timeline: the instant, what it says, the end of that
-- Returns for each 1 if it was written, else 0
local now, account = clock(), ARGV[2]
local lane = 'poll:' .. account
local due, deadlines = {}, {}

local function note_look(timeline, at, what, rest)
  local last = redis.call('LINDEX', timeline, -1)
  local since, said = (last or ''):match('^%[(%d+),(.*)$')
  if since and said:sub(1, #what) == what then
    local looks = tonumber(said:match('"looks":(%d+),"until":%d+}%]$') or 1) + 1
    local run = string.format(',"looks":%d,"until":%s', looks, at)
    redis.call('LSET', timeline, -1, '[' .. since .. ',' .. what .. rest .. run .. '}]')
  else
    note(timeline, {'[' .. at .. ',' .. what .. rest .. '}]'})
  end
end

local written = {}
local fence = next_numbers(tonumber(ARGV[3]))
local line = '([^\n]*)\n'
for id, seen, next_at, looks, at, what, rest in ARGV[4]:gmatch(line:rep(7)) do
  local name = account .. ':' .. id
  local known = redis.call('HMGET', key('tracker:' .. name), 'fence', 'state', 'deadline_at')
  local applies = known[1] == seen and known[2] == 'tracking'
  if applies then
    redis.call('HSET', key('tracker:' .. name), 'looks', looks, 'fence', fence + #written)
    note_look(key('timeline:' .. name), at, what, rest)
    local n = #due
    due[n + 1], due[n + 2] = next_at, id
    deadlines[n + 1], deadlines[n + 2] = known[3], id
  end
  written[#written + 1] = applies and 1 or 0
end
if #due > 0 then
  redis.call('ZADD', key('due:' .. lane), unpack(due))
  redis.call('ZADD', key('deadlines:' .. account), unpack(deadlines))
end
index_lane(lane)
return written
