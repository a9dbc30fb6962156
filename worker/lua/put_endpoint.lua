-- Make an endpoint, or change one: what it is sent with; and whether it is on.
-- ARGV: now, name, url ('' = as it is), record, enabled (1, 0 or '' = as it is), secrets of a new
--   one, concurrency, whether it asks for endpoint.disabled (1 or 0)
-- Returns {created, HGETALL}, or {-1} if there is none and no URL was given
local now, name, url = clock(), ARGV[2], ARGV[3]
local endpoint = key('endpoint:' .. name)
local created = redis.call('EXISTS', endpoint) == 0
if created and url == '' then
  return {-1}
end
if created then
  local seq = next_number()
  redis.call('HSET', endpoint, 'seq', seq, 'enabled', 1, 'secrets', ARGV[6])
  redis.call('ZADD', key('endpoints'), seq, name)
end
if url ~= '' then
  redis.call('HSET', endpoint, 'url', url)
end
redis.call(ARGV[8] == '1' and 'SADD' or 'SREM', key('watchers'), name)
redis.call('HSET', endpoint, 'record', ARGV[4], 'concurrency', ARGV[7], 'put', 1)
redis.call('PERSIST', endpoint) -- an anonymous one was perhaps about to end
redis.call('ZREM', key('expiry'), 'endpoints ' .. name)
if ARGV[5] == '1' then
  redis.call('HSET', endpoint, 'enabled', 1)
  redis.call('HDEL', endpoint, 'disabled_reason', 'failing_since')
elseif ARGV[5] == '0' and redis.call('HGET', endpoint, 'enabled') == '1' then
  disable_endpoint(name, 'it was switched off', '')
end
return {created and 1 or 0, redis.call('HGETALL', endpoint)}
