-- Put before every script, after common.lua: what becomes of deliveries and their endpoints.

local ANONYMOUS = '^url_'

-- Say on the stream that something has happened: the newest 20,000 are kept there.
local function say(type, event_id, account, generation_id, ...)
  redis.call('XADD', key('events'), 'MAXLEN', '~', 20000, '*', 'event_id', event_id, 'type', type,
    'account', account, 'generation_id', generation_id, ...)
end

-- An endpoint fails, or is off: it is listed as in trouble, since when that began.
local function trouble(name, now)
  redis.call('ZADD', key('troubled'), 'NX', now, name)
end

-- An endpoint has not failed since: no run of failures can switch it off, and if it is on all is well.
local function forget_failures(name, enabled)
  redis.call('HDEL', key('endpoint:' .. name), 'failing_since', 'failed_at', 'failing_days', 'failed_with')
  if enabled == '1' then
    redis.call('ZREM', key('troubled'), name)
  end
end

-- Note that an endpoint is owed a delivery; an anonymous one stays known while it is.
local function keep_endpoint(name, id, now)
  redis.call('ZADD', key('owed:' .. name), now, id)
  if name:find(ANONYMOUS) then
    redis.call('PERSIST', key('endpoint:' .. name))
    redis.call('ZREM', key('expiry'), 'endpoints ' .. name, 'troubled ' .. name)
  end
end

-- Note when `queue` has something next that may begin: when its first delivery is due, and not before
-- `not_before`. Deliveries wait in the queue of their endpoint, named like that, if it has a
-- concurrency of its own; those to bare callback URLs in one for each lane, named like the lane.
local function index_queue(lane, queue, not_before)
  local at = first_score(key('due:' .. queue))
  if at then
    redis.call('ZADD', key('queues:' .. lane), math.max(at, not_before), queue)
  else
    redis.call('ZREM', key('queues:' .. lane), queue)
  end
end

-- Index `lane`, and if it has something to do by now see to it that a drain does: returns the lane
-- if the caller must start one, or ''.
local function start_if_due(lane, now, alive_ms)
  local at = index_lane(lane)
  return at and at <= now and summon(lane, now, alive_ms) and lane or ''
end

-- Read what scripts need to know of a delivery, as a table; nil if there is none.
local KNOWN = {'state', 'seq', 'fence', 'lane', 'queue', 'event_id', 'endpoint', 'account', 'generation_id'}
local function delivery_of(id)
  local values = redis.call('HMGET', key('delivery:' .. id), unpack(KNOWN))
  local known = {}
  for i, name in ipairs(KNOWN) do
    known[name] = values[i]
  end
  known.queue = known.queue or known.lane -- from the version that had no queues
  return known.state and known or nil
end

-- A delivery is over: it leaves its queue (which the caller indexes anew), and with its attempts is
-- kept for `retention_ms` more, as is its event once nothing is pending for it, and an anonymous
-- endpoint that is owed no more, unless somebody has put it: what was settled about it would be
-- forgotten after a quiet week.
local function finish_delivery(id, known, state, reason, now, retention_ms)
  local delivery, event, name = key('delivery:' .. id), key('event:' .. known.event_id), known.endpoint
  local index = 'deliveries:' .. state
  redis.call('HSET', delivery, 'state', state, 'reason', reason, 'finished_at', now)
  redis.call('ZREM', key('due:' .. known.queue), id)
  redis.call('ZREM', key('busy:' .. known.queue), id)
  redis.call('ZREM', key('owed:' .. name), id)
  redis.call('ZREM', key('deliveries:pending'), id)
  redis.call('ZADD', key(index), known.seq, id)
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
  if name:find(ANONYMOUS) and redis.call('EXISTS', key('owed:' .. name)) == 0
    and redis.call('HEXISTS', endpoint, 'put') == 0 then
    redis.call('PEXPIRE', endpoint, retention_ms)
    unlist_at('endpoints', name, now + retention_ms)
    if redis.call('ZSCORE', key('troubled'), name) then
      unlist_at('troubled', name, now + retention_ms)
    end
  end
end

-- End a delivery without an attempt: its endpoint is off ('0'), or no longer there (false).
local function give_up(id, known, enabled, now, retention_ms)
  if enabled then
    finish_delivery(id, known, 'exhausted', 'endpoint_disabled', now, retention_ms)
  else
    finish_delivery(id, known, 'discarded', '', now, retention_ms)
  end
end

-- Switch an endpoint off; what it is owed is released by those who read `switched_off`.
-- `event_id` is the event that says so, to be passed on; '' when nobody needs to be told.
local function disable_endpoint(name, reason, event_id, now)
  redis.call('HSET', key('endpoint:' .. name), 'enabled', 0, 'disabled_reason', reason)
  redis.call('SADD', key('switched_off'), name .. ' ' .. event_id)
  trouble(name, now)
end

-- Owe an event to an endpoint: due now, or kept for a recovery if the endpoint is off. An
-- anonymous endpoint begins with the first delivery. Returns the lane whose drain the caller must
-- start, or ''.
local function owe(event_id, account, generation_id, owed, now, alive_ms, retention_ms)
  local name, seq = owed.endpoint, next_number()
  local endpoint = key('endpoint:' .. name)
  local is = redis.call('HMGET', endpoint, 'enabled', 'lane', 'concurrency')
  local enabled, lane = is[1], is[2] or owed.lane -- it may have moved since the caller looked
  if not enabled and name:find(ANONYMOUS) then
    redis.call('HSET', endpoint, 'seq', seq, 'enabled', 1, 'secrets', '[]', 'url', owed.url,
      'lane', lane, 'record', '{}')
    redis.call('ZADD', key('endpoints'), seq, name)
    enabled = '1'
  elseif enabled and not is[2] then
    redis.call('HSET', endpoint, 'lane', lane) -- the version that had no queues did not say
  end
  local queue = is[3] and name or lane
  redis.call('HINCRBY', key('event:' .. event_id), 'pending', 1)
  redis.call('HSET', key('delivery:' .. owed.id), 'state', 'pending', 'seq', seq, 'fence', seq,
    'lane', lane, 'queue', queue, 'event_id', event_id, 'endpoint', name, 'account', account,
    'generation_id', generation_id, 'created_at', now, 'record', owed.record)
  redis.call('ZADD', key('deliveries:pending'), seq, owed.id)
  if account ~= '' then -- else it is about an endpoint
    redis.call('HSET', key('tracker:' .. account .. ':' .. generation_id), 'webhook', owed.id)
  end
  keep_endpoint(name, owed.id, now)
  if enabled ~= '1' then
    local known = {seq = seq, queue = queue, event_id = event_id, endpoint = name}
    give_up(owed.id, known, enabled, now, retention_ms)
    return ''
  end
  redis.call('ZADD', key('due:' .. queue), now, owed.id)
  redis.call('ZADD', key('queues:' .. lane), 'LT', now, queue)
  return start_if_due(lane, now, alive_ms) -- while the receiver is held there is nothing to do
end

-- An event is born: on record, on the stream, and owed to an endpoint if ARGV[first + 3] is there.
-- ARGV from `first`: event id, type, body, then delivery id, endpoint, url, lane, record
local function bear_event(first, account, generation_id, now, alive_ms, retention_ms)
  local event_id, type, body = ARGV[first], ARGV[first + 1], ARGV[first + 2]
  local event = key('event:' .. event_id)
  redis.call('HSET', event, 'type', type, 'account', account, 'generation_id', generation_id, 'body', body)
  say(type, event_id, account, generation_id)
  if not ARGV[first + 3] then
    redis.call('PEXPIRE', event, retention_ms)
    return ''
  end
  local owed = {id = ARGV[first + 3], endpoint = ARGV[first + 4], url = ARGV[first + 5],
    lane = ARGV[first + 6], record = ARGV[first + 7]}
  return owe(event_id, account, generation_id, owed, now, alive_ms, retention_ms)
end
