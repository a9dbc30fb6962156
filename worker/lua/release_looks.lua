-- Give claimed looks back that were not made: each is due again at the time given.
-- ARGV: now, account, then for each tracker: id, due, deadline
local account = ARGV[2]
local lane = 'poll:' .. account
for i = 3, #ARGV, 3 do
  if redis.call('HGET', key('tracker:' .. account .. ':' .. ARGV[i]), 'state') == 'tracking' then
    redis.call('ZADD', key('due:' .. lane), ARGV[i + 1], ARGV[i])
    redis.call('ZADD', key('deadlines:' .. account), ARGV[i + 2], ARGV[i])
  end
end
index_lane(lane)
return 1
