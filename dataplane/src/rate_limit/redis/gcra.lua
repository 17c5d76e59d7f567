-- Takes tokens of a bucket, as many as there are, after putting some back (generic cell rate algorithm).
-- KEYS[1]  when the bucket will be full again, in microseconds since 1970
-- ARGV     microseconds in which a token comes, what the bucket holds, tokens to take, tokens to put back
-- Returns  tokens taken, tokens left, microseconds until it is full, microseconds until there is a token
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local every, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local want, back = tonumber(ARGV[3]), tonumber(ARGV[4])
local full = tonumber(redis.call('GET', KEYS[1]) or 0) - back * every
if full < now then full = now end
-- A millionth of a token is no token: sums of fractions must not lose one.
local room = math.floor(burst - (full - now) / every + 0.000001)
local granted = math.max(0, math.min(want, room))
full = full + granted * every
if granted > 0 or back > 0 then
  redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', math.ceil((full - now) / 1000) + 1)
end
local ahead = full - now
return {
  granted,
  math.max(0, math.floor(burst - ahead / every + 0.000001)),
  math.ceil(ahead),
  math.max(0, math.ceil(ahead + every - burst * every)),
}
