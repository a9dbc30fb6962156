-- Add what a process has counted to the totals, and what the last hour shows to its minute, once.
-- ARGV: now, keep_ms (of a minute), process, number of this flush of it, kept_ms of that number, then
--   for each: field, increment
local flushed = key('flushed:' .. ARGV[3])
if tonumber(redis.call('GET', flushed) or 0) >= tonumber(ARGV[4]) then
  return -- it was counted, and the answer was lost on its way
end
redis.call('SET', flushed, ARGV[4], 'PX', ARGV[5])
local minute, counts_in_minute = key('minute:' .. math.floor(clock() / 60000)), false
for i = 6, #ARGV, 2 do
  redis.call('HINCRBY', key('totals'), ARGV[i], ARGV[i + 1])
  if ARGV[i]:find('^ended:') or ARGV[i]:find('^latency:') then
    redis.call('HINCRBY', minute, ARGV[i], ARGV[i + 1])
    counts_in_minute = true
  end
end
if counts_in_minute then
  redis.call('PEXPIRE', minute, ARGV[2])
end
