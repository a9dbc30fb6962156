-- Replace an endpoint's secrets, if they are still what the caller has read.
-- ARGV: now, name, secrets as read, secrets to be
-- Returns 1, or 0 if they have changed since
local endpoint = key('endpoint:' .. ARGV[2])
if redis.call('HGET', endpoint, 'secrets') ~= ARGV[3] then
  return 0
end
redis.call('HSET', endpoint, 'secrets', ARGV[4])
return 1
