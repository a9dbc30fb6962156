-- Add what a process has counted to the totals, and what the last hour shows to its minute.
-- ARGV: now, keep_ms (of a minute), then for each: field, increment
local minute, counts_in_minute = key('minute:' .. math.floor(clock() / 60000)), false
for i = 3, #ARGV, 2 do
  redis.call('HINCRBY', key('totals'), ARGV[i], ARGV[i + 1])
  if ARGV[i]:find('^ended:') or ARGV[i]:find('^latency:') then
    redis.call('HINCRBY', minute, ARGV[i], ARGV[i + 1])
    counts_in_minute = true
  end
end
if counts_in_minute then
  redis.call('PEXPIRE', minute, ARGV[2])
end
