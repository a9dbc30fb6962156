-- Give up deliveries that are owed to an endpoint that is off (exhausted) or deleted (discarded),
-- but for those under way: they may still arrive, and if not are given up by their settle.
-- ARGV: now, name, limit (more than may be under way), retention_ms
-- Returns how many were given up; 0 also when the endpoint is on (again)
local now, name, limit, retention_ms = clock(), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local is = redis.call('HMGET', key('endpoint:' .. name), 'enabled', 'lane')
local enabled, queues, released = is[1], {}, 0
if enabled == '1' then
  return 0
end
for _, id in ipairs(redis.call('ZRANGE', key('owed:' .. name), 0, limit - 1)) do
  local known = delivery_of(id)
  local leased_until = tonumber(redis.call('ZSCORE', key('busy:' .. known.queue), id) or 0)
  if leased_until <= now then
    give_up(id, known, enabled, now, retention_ms)
    queues[known.queue] = known.queue == name and (is[2] or known.lane) or known.queue
    released = released + 1
  end
end
for queue, lane in pairs(queues) do
  index_queue(lane, queue, 0)
  index_lane(lane)
end
return released
