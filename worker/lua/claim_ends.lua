-- Claim what is past its deadline in an account that this deployment does not configure. When
-- nothing is, its lane sleeps until the next deadline, but not for longer than `rest_ms`, since
-- another worker may have the account by then.
-- ARGV: now, account, limit, lease_ms, rest_ms
-- Returns {now, ends}: each {id, TRACKER}
local now, account, limit, lease_ms = clock(), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local lane, deadlines = 'poll:' .. account, key('deadlines:' .. account)
local late = redis.call('ZRANGEBYSCORE', deadlines, '-inf', now, 'LIMIT', 0, limit)
local ends = claim_trackers(account, late, now + lease_ms)
if #ends == 0 and index_lane(lane) then
  local wake_at = math.min(first_score(deadlines) or math.huge, now + tonumber(ARGV[5]))
  redis.call('ZADD', key('lanes'), wake_at, lane)
  redis.call('DEL', key('drain:' .. lane))
  redis.call('SADD', key('unconfigured'), account)
elseif #ends == 0 then
  redis.call('DEL', key('drain:' .. lane))
  redis.call('SREM', key('unconfigured'), account)
end
return {now, ends}
