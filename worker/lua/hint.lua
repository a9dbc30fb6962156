-- A provider's push came in: look at its generation now, but not more than once in `gap_ms` nor more
-- than `most` times for pushes; if nobody knows yet what was created, search for it now, and if that
-- was given up, once more: whoever has the token has been asked.
-- ARGV: now, account, digest of the token, gap_ms, most, alive_ms
-- Returns must_start
local now, account, gap_ms, most = clock(), ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5])
local hint = key('hint:' .. ARGV[3])
local known = redis.call('HMGET', hint, 'account', 'generation_id', 'submission', 'at', 'count')
local is_soon = now - tonumber(known[4] or 0) < gap_ms
if known[1] ~= account or is_soon or tonumber(known[5] or 0) >= most then
  return 0
end
redis.call('HSET', hint, 'at', now)
redis.call('HINCRBY', hint, 'count', 1)
if known[2] then
  local _, must_start = hurry(now, account, known[2], tonumber(ARGV[6]))
  return must_start and 1 or 0
end
local doubt = redis.call('HMGET', key('submission:' .. known[3]), 'state', 'in_doubt')
if doubt[1] == 'unknown' then
  redis.call('ZADD', key('unsettled'), now, known[3])
elseif doubt[2] then
  redis.call('ZADD', key('unsettled'), 'XX', 'LT', now, known[3])
end
return 0
