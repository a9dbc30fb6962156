-- Take out of the lists, and off the stream, what is no longer kept.
-- ARGV: now, limit, retention_ms
-- Returns how many were taken out of the lists
local now, retention_ms = clock(), tonumber(ARGV[3])
redis.call('XTRIM', key('events'), 'MINID', string.format('%.0f', now - retention_ms))
local expired = redis.call('ZRANGEBYSCORE', key('expiry'), '-inf', now, 'LIMIT', 0, ARGV[2])
for _, entry in ipairs(expired) do
  local index, member = entry:match('^(%S+) (.*)$')
  redis.call('ZREM', key(index), member)
  redis.call('ZREM', key('expiry'), entry)
end
return #expired
