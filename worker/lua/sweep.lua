-- Take out of the lists what is no longer kept.
-- ARGV: now, limit
-- Returns how many were taken out
local now = clock()
local expired = redis.call('ZRANGEBYSCORE', key('expiry'), '-inf', now, 'LIMIT', 0, ARGV[2])
for _, entry in ipairs(expired) do
  local index, member = entry:match('^(%S+) (.*)$')
  redis.call('ZREM', key(index), member)
  redis.call('ZREM', key('expiry'), entry)
end
return #expired
