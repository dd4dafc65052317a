-- Takes a token from each of several buckets, or from none of them: 0, or which one is the emptiest
-- and how many microseconds it takes to have a token again.
--
-- KEYS: the buckets. ARGV: for each of them interval_us and depth_us (bucket.rs, whose arithmetic
-- this is). A bucket's value is when it will be full again, in Unix microseconds by this server's
-- clock; one that is full has none.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local stored = redis.call('MGET', unpack(KEYS))
local full_at, emptiest, longest = {}, 0, 0
for i = 1, #KEYS do
    local interval, depth = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    local before = tonumber(stored[i] or now) or now
    full_at[i] = math.min(math.max(before, now), now + depth) + interval
    local wait = full_at[i] - (now + depth)
    if wait > longest then
        emptiest, longest = i, wait
    end
end
if emptiest > 0 then
    return { emptiest, longest }
end
for i = 1, #KEYS do
    -- Not tostring, which keeps 14 of the 16 digits.
    local value = string.format('%.0f', full_at[i])
    redis.call('SET', KEYS[i], value, 'PX', math.ceil((full_at[i] - now) / 1000))
end
return { 0, 0 }
