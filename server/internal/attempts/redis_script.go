package attempts

import "github.com/redis/go-redis/v9"

// keyPrefix is how the name of everything begins that the store has in Redis. After it comes an HMAC.
const keyPrefix = "recoverycodes:attempts:"

// A member is a sorted set: the random ids of the attempts that count, each at the time of Redis, in milliseconds,
// when it was reserved. A caller is a hash: how many were wrong, and how many right, in each of the slices kept; the
// length of a slice is in its name, because slices of another length have other numbers. Both are gone when nothing
// in them counts any more.

// reserveScript looks under all names and counts under the first, in one step. A slice in the future, which there is
// when a clock was set back, counts as well. The script must say of a caller what Limits.callerOver says.
//
// It begins with no "#!lua", since Redis would then refuse it whole when memory is full; so it refuses only the write,
// and a budget that is exhausted is still told as such. ZADD must be the first write: Redis lets what follows one pass.
//
//	KEYS  the names of the member, that under the first secret first; then those of the caller
//	ARGV  id, window in milliseconds, member limit, slice in milliseconds, slices kept, caller failures, caller share
var reserveScript = redis.NewScript(`
local id, window, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local slice, kept, failures, share = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local secrets = #KEYS / 2

local newest = math.floor(now / slice)
local oldest = newest - kept + 1
local counts, sum = { wrong = {}, right = {} }, { wrong = 0, right = 0 }
for i = secrets + 1, #KEYS do
  local fields = redis.call('HGETALL', KEYS[i])
  for j = 1, #fields, 2 do
    local what, at = string.match(fields[j], '^(%a+) (%d+)$')
    at = tonumber(at)
    if at >= oldest then
      counts[what][at] = (counts[what][at] or 0) + fields[j + 1]
      sum[what] = sum[what] + fields[j + 1]
    end
  end
end
local from = oldest
while from <= newest and sum.wrong >= failures and sum.wrong > share * (sum.wrong + sum.right) do
  for _, what in ipairs({ 'wrong', 'right' }) do
    sum[what] = sum[what] - (counts[what][from] or 0)
  end
  from = from + 1
end
if from > oldest then return { 'caller', (from + kept - 1) * slice - now } end

local times = {}
for i = 1, secrets do
  local ids = redis.call('ZRANGEBYSCORE', KEYS[i], string.format('%d', now - window), '+inf', 'WITHSCORES')
  for j = 2, #ids, 2 do table.insert(times, tonumber(ids[j])) end
end
if #times >= limit then
  table.sort(times)
  return { 'member', times[#times - limit + 1] + window + 1 - now }
end
redis.call('ZADD', KEYS[1], string.format('%d', now), id)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%d', now - window))
redis.call('PEXPIRE', KEYS[1], window + 1)
return { 'reserved', 0 }
`)

// settleScript gives an attempt back to the member or not, and counts it for the caller or not. It must not fail for
// want of memory: giving back makes room, and what it writes for callers is bounded.
//
//	KEYS  the names of the member and of the caller under the first secret
//	ARGV  the id to give back or '', 'wrong' or 'right' or '', slice in milliseconds, slices kept
var settleScript = redis.NewScript(`#!lua flags=allow-oom
local id, what, slice, kept = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if id ~= '' then redis.call('ZREM', KEYS[1], id) end
if what == '' then return 0 end
local time = redis.call('TIME')
local newest = math.floor((time[1] * 1000 + math.floor(time[2] / 1000)) / slice)
for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
  if tonumber(string.match(field, '%d+')) <= newest - kept then redis.call('HDEL', KEYS[2], field) end
end
redis.call('HINCRBY', KEYS[2], string.format('%s %d', what, newest), 1)
redis.call('PEXPIRE', KEYS[2], slice * kept)
return 0
`)
