-- Put down what was learned of an account's kinds and take away the observations that it was learned
-- from, unless somebody else has done so since they were read.
-- ARGV: now, account, version that was read, number of observations, kept_ms, number of kinds to
--   forget, their names, then a name and what is known of it for each kind that was learned of
-- Returns 1 if it was written, else 0
local account, forgotten = ARGV[2], tonumber(ARGV[6])
local learned, observed = key('learned:' .. account), key('observed:' .. account)
if (redis.call('HGET', learned, 'version') or '0') ~= ARGV[3] then
  return 0
end
for i = 7, 6 + forgotten do
  redis.call('HDEL', learned, ARGV[i])
end
for i = 7 + forgotten, #ARGV, 2 do
  redis.call('HSET', learned, ARGV[i], ARGV[i + 1])
end
redis.call('HINCRBY', learned, 'version', 1)
redis.call('PEXPIRE', learned, ARGV[5])
redis.call('LTRIM', observed, ARGV[4], -1)
return 1
