-- Put a submission on record before its create call, unless one was under the same idempotency key.
-- ARGV: now, id, account, record, lease_ms, fingerprint, digest of its idempotency key ('' = it has
--   none), digest of its token ('' = it has none)
-- Returns {now, id, 'new', 'same' or 'other'}: the ID of the submission that has the key, and whether
-- that was begun now, or by the same or another request
local now, id, account, record = clock(), ARGV[2], ARGV[3], ARGV[4]
local fingerprint, idempotency, token = ARGV[6], ARGV[7], ARGV[8]
if idempotency ~= '' then
  local holder = redis.call('GET', key('idempotency:' .. idempotency))
  local known = holder and redis.call('HGET', key('submission:' .. holder), 'fingerprint')
  if known and holder ~= id then -- its own it has if the same command came twice
    return {now, holder, known == fingerprint and 'same' or 'other'}
  end
  redis.call('SET', key('idempotency:' .. idempotency), id)
end
local seq = next_number()
redis.call('HSET', key('submission:' .. id), 'state', 'pending', 'account', account, 'begun_at', now,
  'record', record, 'fingerprint', fingerprint, 'idempotency', idempotency,
  'token', token, 'looks', 0, 'seq', seq)
redis.call('ZADD', key('submissions'), seq, id)
redis.call('ZADD', key('unsettled'), now + tonumber(ARGV[5]), id)
if token ~= '' then
  redis.call('HSET', key('hint:' .. token), 'account', account, 'submission', id)
else
  local open = key('open:' .. account)
  redis.call('ZREMRANGEBYSCORE', open, '-inf', now - 86400000)
  redis.call('ZADD', open, now, id)
  redis.call('PEXPIRE', open, 86400000)
end
return {now, id, 'new'}
