-- A worker shows that it lives; those that have not for `forget_ms` are forgotten.
-- ARGV: now, name, forget_ms
local now = clock()
redis.call('ZADD', key('workers'), now, ARGV[2])
redis.call('ZREMRANGEBYSCORE', key('workers'), '-inf', now - ARGV[3])
