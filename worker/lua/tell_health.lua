-- Write what an answer that was about no tracker in particular says of its account.
-- ARGV: now, account, health version, reason, streak, held_until, detail, slowed_until, suspect
local lane = 'poll:' .. ARGV[2]
if settle_health(lane, 3) then
  redis.call('HSET', key('card:' .. lane), 'slowed_until', ARGV[8], 'suspect', ARGV[9])
end
index_lane(lane)
return 1
