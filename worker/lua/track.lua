-- Track generations of one account: new ones are due at once; known ones are compared by terms.
-- ARGV: now, account, alive_ms, record, then for each of up to 1,000: id, terms, deadline_ms
-- Returns {now, must_start, outcomes}: new, same or conflict
local now = clock()
local must_start, outcomes = track(now, ARGV[2], tonumber(ARGV[3]), ARGV[4], 5)
return {now, must_start and 1 or 0, outcomes}
