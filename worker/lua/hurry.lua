-- Make a tracker's next look due now.
-- ARGV: now, account, id, alive_ms
-- Returns {state or nil, must_start}
local now = clock()
local state, must_start = hurry(now, ARGV[2], ARGV[3], tonumber(ARGV[4]))
return {state, must_start and 1 or 0}
