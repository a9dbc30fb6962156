-- Write down what is known of a submission: still nothing, that nothing was made, or that nobody will
-- ever know. What was created stays created.
-- ARGV: now, id, state (pending, refused, unknown), record, looks, due in ms (of a pending one),
--   retention_ms
-- Returns 1, or 0 if it is not pending any more (or unknown, and now refused), or no longer kept
local now, id, state = clock(), ARGV[2], ARGV[3]
local submission = key('submission:' .. id)
local before = redis.call('HGET', submission, 'state')
if before ~= 'pending' and not (before == 'unknown' and state == 'refused') then
  redis.call('ZREM', key('unsettled'), id) -- a hint may have had it searched for once more
  return 0
end
redis.call('HSET', submission, 'record', ARGV[4], 'looks', ARGV[5])
if state == 'pending' then
  redis.call('HSET', submission, 'in_doubt', 1)
  redis.call('ZADD', key('unsettled'), now + tonumber(ARGV[6]), id)
else
  end_submission(now, id, state, ARGV[7])
end
return 1
