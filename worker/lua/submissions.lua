-- Put before every script, behind tracking.lua: how a submission ends.

-- A submission is over: it is kept for the retention, without what only its open outcome needed, and
-- so is its idempotency key, unless nothing was made: then the key may be used for another try.
local function end_submission(now, id, state, retention_ms)
  local submission = key('submission:' .. id)
  local known = redis.call('HMGET', submission, 'account', 'idempotency', 'token')
  redis.call('HSET', submission, 'state', state, 'ended_at', now)
  redis.call('PEXPIRE', submission, retention_ms)
  unlist_at('submissions', id, now + tonumber(retention_ms))
  redis.call('ZREM', key('unsettled'), id)
  if known[1] and state ~= 'unknown' then -- of that a row may come yet
    redis.call('ZREM', key('open:' .. known[1]), id)
  end
  local idempotency = key('idempotency:' .. (known[2] or ''))
  if known[2] and known[2] ~= '' and redis.call('GET', idempotency) == id then
    if state == 'refused' then
      redis.call('DEL', idempotency)
    else
      redis.call('PEXPIRE', idempotency, retention_ms)
    end
  end
  if known[3] and known[3] ~= '' then
    if state == 'refused' then
      redis.call('DEL', key('hint:' .. known[3]))
    else
      redis.call('PEXPIRE', key('hint:' .. known[3]), retention_ms)
    end
  end
end
