-- Takes an edge's own route back, and nobody else's.
-- KEYS: as in register.lua. ARGV: address, epoch.
if redis.call('GET', KEYS[2]) ~= ARGV[2] .. ' ' .. ARGV[1] then
    return 0
end
redis.call('DEL', KEYS[2])
-- One without an end is an operator's.
if redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PTTL', KEYS[1]) ~= -1 then
    redis.call('DEL', KEYS[1])
end
return 1
