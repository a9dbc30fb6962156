-- Delete an endpoint; what it is still owed is to be released as discarded.
-- ARGV: now, name
-- Returns 1, or 0 if there is none
local name = ARGV[2]
if redis.call('DEL', key('endpoint:' .. name)) == 0 then
  return 0
end
redis.call('ZREM', key('endpoints'), name)
redis.call('ZREM', key('troubled'), name)
redis.call('SREM', key('watchers'), name)
redis.call('ZREM', key('expiry'), 'endpoints ' .. name, 'troubled ' .. name)
redis.call('SADD', key('switched_off'), name .. ' ')
return 1
