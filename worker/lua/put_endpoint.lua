-- Make an endpoint, or change one: where it is, what it is sent with, and whether it is on.
-- ARGV: now, name, url ('' = as it is), lane of that, record ('' = it, the concurrency and who is
--   told stay as they are), enabled (1, 0 or '' = as it is), secrets of a new one, concurrency,
--   whether it asks for endpoint.disabled (1 or 0), alive_ms
-- Returns {created, HGETALL, lane whose drain the caller must start or ''}, or {-1} if there is
--   none and no URL was given
local now, name, url, lane, record, enabled = clock(), ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local endpoint, must_start = key('endpoint:' .. name), ''
local was = redis.call('HMGET', endpoint, 'enabled', 'lane', 'url')
local created = not was[1]
if created and url == '' then
  return {-1}
end
if created then
  local seq = next_number()
  redis.call('HSET', endpoint, 'seq', seq, 'enabled', 1, 'secrets', ARGV[7])
  redis.call('ZADD', key('endpoints'), seq, name)
else
  go_on_when_full() -- to be switched off, say
end
if record ~= '' then
  redis.call('HSET', endpoint, 'record', record, 'concurrency', ARGV[8])
  redis.call(ARGV[9] == '1' and 'SADD' or 'SREM', key('watchers'), name)
end
if url ~= '' then
  redis.call('HSET', endpoint, 'url', url, 'lane', lane)
end
if url ~= '' and lane ~= was[2] then -- its queue, with all that waits there, moves along
  if was[2] then
    redis.call('ZREM', key('queues:' .. was[2]), name)
    index_lane(was[2])
  end
  index_queue(lane, name, 0)
  must_start = start_if_due(lane, now, tonumber(ARGV[10]))
end
redis.call('HSET', endpoint, 'put', 1)
redis.call('PERSIST', endpoint) -- an anonymous one was perhaps about to end
redis.call('ZREM', key('expiry'), 'endpoints ' .. name, 'troubled ' .. name)
if enabled == '1' then
  redis.call('HSET', endpoint, 'enabled', 1)
  redis.call('HDEL', endpoint, 'disabled_reason')
elseif enabled == '0' and was[1] ~= '0' then
  disable_endpoint(name, 'it was switched off', '', now)
end
if enabled == '1' or (url ~= '' and url ~= was[3]) then -- where it is now it has not failed
  forget_failures(name, redis.call('HGET', endpoint, 'enabled'))
end
return {created and 1 or 0, redis.call('HGETALL', endpoint), must_start}
