-- Put before every script, after common.lua: what becomes of deliveries and their endpoints.

local ANONYMOUS = '^url_'

-- Note that an endpoint is owed a delivery; an anonymous one stays known while it is.
local function keep_endpoint(name, id, now)
  redis.call('ZADD', key('owed:' .. name), now, id)
  if name:find(ANONYMOUS) then
    redis.call('PERSIST', key('endpoint:' .. name))
    redis.call('ZREM', key('expiry'), 'endpoints ' .. name)
  end
end

-- A delivery is over: it leaves its lane, and with its attempts is kept for `retention_ms` more,
-- as is its event once nothing is pending for it, and an anonymous endpoint that is owed no more,
-- unless somebody has put it: what was settled about it would be forgotten after a quiet week.
local function finish_delivery(id, state, reason, now, retention_ms)
  local delivery = key('delivery:' .. id)
  local known = redis.call('HMGET', delivery, 'seq', 'lane', 'event_id', 'endpoint')
  local lane, event, name = known[2], key('event:' .. known[3]), known[4]
  local index = 'deliveries:' .. state
  redis.call('HSET', delivery, 'state', state, 'reason', reason, 'finished_at', now)
  redis.call('ZREM', key('due:' .. lane), id)
  redis.call('ZREM', key('busy:' .. lane), id)
  redis.call('ZREM', key('owed:' .. name), id)
  redis.call('ZREM', key('deliveries:pending'), id)
  redis.call('ZADD', key(index), known[1], id)
  unlist_at(index, id, now + retention_ms)
  if state == 'exhausted' then
    redis.call('ZADD', key('failed:' .. name), now, id)
    unlist_at('failed:' .. name, id, now + retention_ms)
  end
  redis.call('PEXPIRE', delivery, retention_ms)
  redis.call('PEXPIRE', key('attempts:' .. id), retention_ms)
  if redis.call('HINCRBY', event, 'pending', -1) <= 0 then
    redis.call('PEXPIRE', event, retention_ms)
  end
  local endpoint = key('endpoint:' .. name)
  if redis.call('EXISTS', key('owed:' .. name)) == 0 then
    redis.call('HDEL', endpoint, 'failing_since') -- a quiet spell is no failure
  end
  if name:find(ANONYMOUS) and redis.call('EXISTS', key('owed:' .. name)) == 0
    and redis.call('HEXISTS', endpoint, 'put') == 0 then
    redis.call('PEXPIRE', endpoint, retention_ms)
    unlist_at('endpoints', name, now + retention_ms)
  end
end

-- End a delivery without an attempt: its endpoint is off ('0'), or no longer there (false).
local function give_up(id, enabled, now, retention_ms)
  if enabled then
    finish_delivery(id, 'exhausted', 'endpoint_disabled', now, retention_ms)
  else
    finish_delivery(id, 'discarded', '', now, retention_ms)
  end
end

-- Switch an endpoint off; what it is owed is released by those who read `disabled`.
-- `event_id` is the event that says so, to be passed on; '' when nobody needs to be told.
local function disable_endpoint(name, reason, event_id)
  redis.call('HSET', key('endpoint:' .. name), 'enabled', 0, 'disabled_reason', reason)
  redis.call('HSET', key('disabled'), name, event_id)
end

-- Owe an event to an endpoint: due now, or kept for a recovery if the endpoint is off. An
-- anonymous endpoint begins with the first delivery. Returns the lane whose drain the caller must
-- start, or ''.
local function owe(event_id, account, generation_id, owed, now, alive_ms, retention_ms)
  local endpoint, seq = key('endpoint:' .. owed.endpoint), next_number()
  if owed.endpoint:find(ANONYMOUS) and redis.call('EXISTS', endpoint) == 0 then
    redis.call('HSET', endpoint, 'seq', seq, 'enabled', 1, 'secrets', '[]', 'url', owed.url, 'record', '{}')
    redis.call('ZADD', key('endpoints'), seq, owed.endpoint)
  end
  redis.call('PERSIST', key('event:' .. event_id))
  redis.call('HINCRBY', key('event:' .. event_id), 'pending', 1)
  redis.call('HSET', key('delivery:' .. owed.id), 'state', 'pending', 'seq', seq, 'fence', seq,
    'lane', owed.lane, 'event_id', event_id, 'endpoint', owed.endpoint, 'account', account,
    'generation_id', generation_id, 'created_at', now, 'record', owed.record)
  redis.call('ZADD', key('deliveries:pending'), seq, owed.id)
  redis.call('ZADD', key('due:' .. owed.lane), now, owed.id)
  keep_endpoint(owed.endpoint, owed.id, now)
  local enabled = redis.call('HGET', endpoint, 'enabled')
  if enabled ~= '1' then
    give_up(owed.id, enabled, now, retention_ms)
    return ''
  end
  -- While the receiver is held there is nothing for a drain to do.
  return index_lane(owed.lane) <= now and summon(owed.lane, now, alive_ms) and owed.lane or ''
end

-- An event is born: on record, on the stream, and owed to an endpoint if ARGV[first + 3] is there.
-- ARGV from `first`: event id, type, body, then delivery id, endpoint, url, lane, record
local function bear_event(first, account, generation_id, now, alive_ms, retention_ms)
  local event_id, type, body = ARGV[first], ARGV[first + 1], ARGV[first + 2]
  local event = key('event:' .. event_id)
  redis.call('HSET', event, 'type', type, 'account', account, 'generation_id', generation_id, 'body', body)
  redis.call('XADD', key('events'), 'MAXLEN', '~', 10000, '*', 'event_id', event_id, 'type', type,
    'account', account, 'generation_id', generation_id)
  if not ARGV[first + 3] then
    redis.call('PEXPIRE', event, retention_ms)
    return ''
  end
  local owed = {id = ARGV[first + 3], endpoint = ARGV[first + 4], url = ARGV[first + 5],
    lane = ARGV[first + 6], record = ARGV[first + 7]}
  return owe(event_id, account, generation_id, owed, now, alive_ms, retention_ms)
end
