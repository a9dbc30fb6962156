-- Give claimed looks back that were not made: each is due again at the time given, unless it has been
-- settled or asked for since (then its score is a whole number; see claim_tracker).
-- ARGV: now, account, then for each tracker: id, due, deadline
local account = ARGV[2]
local lane = 'poll:' .. account
local due = key('due:' .. lane)
for i = 3, #ARGV, 3 do
  if tonumber(redis.call('ZSCORE', due, ARGV[i]) or 0) % 1 ~= 0 then
    redis.call('ZADD', due, ARGV[i + 1], ARGV[i])
    redis.call('ZADD', key('deadlines:' .. account), ARGV[i + 2], ARGV[i])
  end
end
index_lane(lane)
return 1
