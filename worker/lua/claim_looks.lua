-- Claim the looks that are due in one account's lane, as far as its health and budget allow: each
-- costs a request. With `page` (the rows of a page of the provider's list) one request is to do for
-- many: then what is due first is claimed, and up to so many in all that are near it in the list.
-- ARGV: now, account, limit, lease_ms, requests per second, alive_ms, page (0 = one by one),
--   1 if the marker is another drain's
-- Returns {now, wake_at, health, blind, looks, due, version, unlearned}: health = {reason, streak,
-- held_until, detail, version, slowed_until, suspect}; blind are past their deadline while the
-- account is held; each is {id, TRACKER}; so many of the looks are due; the version of what was
-- learned, and how many ends nobody has learned from
local now, account, limit, lease_ms = clock(), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local rate, alive_ms, page = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local lane = 'poll:' .. account
local due, deadlines, card = key('due:' .. lane), key('deadlines:' .. account), key('card:' .. lane)
local leased_until = now + lease_ms

local health = health_of(lane)
local held_until = tonumber(health[3] or 0)
local held = held_until > now
rate = rate_at(card, now, rate)
local tokens = tokens_at(card, now, rate)
local allowed = held and 0 or math.min(limit, math.floor(tokens))
if held_until > 0 then
  allowed, page = math.min(allowed, 1), 0 -- a probe goes first, until an answer clears the hold
end

-- What stands next to `leader` in the order of tracking, since that is about the order of a list:
-- what is due, and what is not (a score that is no whole number has been claimed already).
local function near(leader)
  local listed = key('trackers:' .. account .. ':tracking')
  local rank = redis.call('ZRANK', listed, leader) or 0
  local first = math.max(0, math.min(rank - math.floor(page / 2), redis.call('ZCARD', listed) - page))
  local ids = redis.call('ZRANGE', listed, first, first + page - 1)
  local scores = #ids > 0 and redis.call('ZMSCORE', due, unpack(ids)) or {}
  local now_due, riders = {leader}, {}
  for i, id in ipairs(ids) do
    local at = tonumber(scores[i] or 0.5)
    if id ~= leader and at % 1 == 0 and at > now then
      riders[#riders + 1] = id
    elseif id ~= leader and scores[i] and at <= now then
      now_due[#now_due + 1] = id
    end
  end
  return now_due, riders
end

local blind, looks = {}, {}
local function claim(ids)
  for _, each in ipairs(claim_trackers(account, ids, leased_until)) do
    looks[#looks + 1] = each
  end
end

local late = redis.call('ZRANGEBYSCORE', deadlines, '-inf', now, 'LIMIT', 0, limit)
local are_due, requests
if held then
  blind = claim_trackers(account, late, leased_until)
  are_due, requests = 0, 0
elseif page > 0 and allowed > 0 then
  local leader = late[1] or redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, 1)[1]
  local now_due, riders = {}, {}
  if leader then
    now_due, riders = near(leader)
  end
  claim(now_due)
  are_due, requests = #looks, math.min(1, #looks)
  claim(are_due > 0 and riders or {}) -- none, if the tracker of `leader` has gone
else
  claim({unpack(late, 1, math.min(#late, allowed))})
  if #looks < allowed then
    claim(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, allowed - #looks))
  end
  are_due, requests = #looks, #looks
end

if requests > 0 then
  spend(card, now, tokens, requests)
  tokens = tokens - requests
  if held_until > 0 then
    redis.call('HSET', card, 'held_until', leased_until, 'probe_until', leased_until)
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
if ARGV[8] == '0' then
  beat(lane, alive_ms, asleep_until)
end
local version = tonumber(redis.call('HGET', key('learned:' .. account), 'version') or 0)
local unlearned = redis.call('LLEN', key('observed:' .. account))
return {now, wake_at, health, blind, looks, are_due, version, unlearned}
