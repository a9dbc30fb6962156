-- Claim the looks that are due in one account's lane, as far as its health and budget allow.
-- ARGV: now, account, limit, lease_ms, requests per second, alive_ms
-- Returns {now, wake_at, health, blind, looks}: health = {reason, streak, held_until, detail,
-- version}; blind are past their deadline while the account is held; each is {id, HGETALL}
local now, account, limit, lease_ms = clock(), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local rate, alive_ms = tonumber(ARGV[5]), tonumber(ARGV[6])
local lane = 'poll:' .. account
local due, deadlines, card = key('due:' .. lane), key('deadlines:' .. account), key('card:' .. lane)
local leased_until = now + lease_ms

local health = health_of(lane)
local held_until = tonumber(health[3] or 0)
local held = held_until > now
local tokens = tokens_at(card, now, rate)
local allowed = held and 0 or math.min(limit, math.floor(tokens))
if held_until > 0 then
  allowed = math.min(allowed, 1) -- after a hold one probe goes first, until an answer clears it
end

local blind, looks = {}, {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', deadlines, '-inf', now, 'LIMIT', 0, limit)) do
  if held then
    blind[#blind + 1] = claim_tracker(account, id, leased_until)
  elseif #looks < allowed then
    looks[#looks + 1] = claim_tracker(account, id, leased_until)
  end
end
local room = allowed - #looks
if room > 0 then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, room)) do
    looks[#looks + 1] = claim_tracker(account, id, leased_until)
  end
end

if #looks > 0 then
  tokens = tokens - #looks
  redis.call('HSET', card, 'tokens', tokens, 'refilled_at', now)
  if held_until > 0 then
    redis.call('HSET', card, 'held_until', leased_until)
  end
end

local wake_at = index_lane(lane)
local asleep_until = 0
if not wake_at then
  wake_at, asleep_until = -1, leased_until
elseif wake_at > now then
  asleep_until = wake_at
elseif tokens < 1 then
  wake_at = now + math.ceil((1 - tokens) / rate * 1000)
end
beat(lane, alive_ms, asleep_until)
return {now, wake_at, health, blind, looks}
