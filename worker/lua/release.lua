-- Give up deliveries that are owed to an endpoint that is off (exhausted) or deleted (discarded),
-- but for those under way: they may still arrive, and if not are given up by their settle.
-- ARGV: now, name, limit (more than may be under way), retention_ms
-- Returns how many were given up; 0 also when the endpoint is on (again)
local now, name, limit, retention_ms = clock(), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local enabled = redis.call('HGET', key('endpoint:' .. name), 'enabled')
if enabled == '1' then
  return 0
end
local released = 0
for _, id in ipairs(redis.call('ZRANGE', key('owed:' .. name), 0, limit - 1)) do
  local lane = redis.call('HGET', key('delivery:' .. id), 'lane')
  local leased_until = tonumber(redis.call('ZSCORE', key('busy:' .. lane), id) or 0)
  if leased_until <= now then
    give_up(id, enabled, now, retention_ms)
    index_lane(lane)
    released = released + 1
  end
end
return released
