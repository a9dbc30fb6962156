-- Give up deliveries that are owed to an endpoint that is off (exhausted) or deleted (discarded).
-- ARGV: now, name, limit, retention_ms
-- Returns how many are left; 0 also when the endpoint is on (again)
local now, name, limit, retention_ms = clock(), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local enabled = redis.call('HGET', key('endpoint:' .. name), 'enabled')
if enabled == '1' then
  return 0
end
for _, id in ipairs(redis.call('ZRANGE', key('owed:' .. name), 0, limit - 1)) do
  local lane = redis.call('HGET', key('delivery:' .. id), 'lane')
  give_up(id, enabled, now, retention_ms)
  index_lane(lane)
end
return redis.call('ZCARD', key('owed:' .. name))
