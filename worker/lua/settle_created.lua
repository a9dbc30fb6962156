-- Write down that a submission's generation was created, and track it, in one step.
-- ARGV: now, submission id, account, alive_ms, record of the tracker, retention_ms, is_certain, record
--   of the submission, generation id, terms, deadline_ms
-- Returns {now, must_start, outcome}: new, same or conflict as when it is tracked, same if this was
-- written down before; or 'taken' if it is not certain whose it is and it is tracked already, or the
-- submission is no longer pending
local now, id, account, retention_ms, generation_id = clock(), ARGV[2], ARGV[3], ARGV[6], ARGV[9]
local submission = key('submission:' .. id)
local known = redis.call('HMGET', submission, 'state', 'token', 'generation_id')
local tracker = key('tracker:' .. account .. ':' .. generation_id)
if ARGV[7] == '0' and (known[1] ~= 'pending' or redis.call('EXISTS', tracker) == 1) then
  return {now, 0, 'taken'}
end
if known[1] == 'created' and known[3] == generation_id then
  return {now, 0, 'same'} -- what has been done with its tracker since, such as to cancel it, stays done
end
local must_start, outcomes = track(now, account, tonumber(ARGV[4]), ARGV[5], 9)
if known[1] then
  redis.call('HSET', submission, 'generation_id', generation_id, 'record', ARGV[8])
  end_submission(now, id, 'created', retention_ms)
end
if known[2] and known[2] ~= '' then
  local hint = key('hint:' .. known[2])
  redis.call('HSET', hint, 'account', account, 'generation_id', generation_id)
  redis.call('PEXPIRE', hint, tonumber(ARGV[11]) + tonumber(retention_ms))
end
return {now, must_start and 1 or 0, outcomes[1]}
