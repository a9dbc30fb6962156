-- Write what looks that showed nothing new made of their trackers, each unless somebody has settled
-- it since it was claimed. In a timeline a run of such looks is one line.
-- ARGV: now, account, then for each tracker: id, fence, looks, next_at, and of its line: the instant,
--   what it says, the end of that
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
for i = 3, #ARGV, 7 do
  local id = ARGV[i]
  local name = account .. ':' .. id
  local known = redis.call('HMGET', key('tracker:' .. name), 'fence', 'state', 'deadline_at')
  local applies = known[1] == ARGV[i + 1] and known[2] == 'tracking'
  if applies then
    redis.call('HSET', key('tracker:' .. name), 'looks', ARGV[i + 2], 'fence', next_number())
    note_look(key('timeline:' .. name), ARGV[i + 4], ARGV[i + 5], ARGV[i + 6])
    local n = #due
    due[n + 1], due[n + 2] = ARGV[i + 3], id
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
