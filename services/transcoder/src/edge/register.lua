-- Registers an edge as a stream's upstream, unless an operator or a newer edge has.
-- KEYS: the route (streams:{id}), and who wrote it (edge:{id}: epoch, space, address).
-- ARGV: address, epoch, life of the route in ms.
local address, epoch, life_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local present = redis.call('GET', KEYS[1])
local writer = redis.call('GET', KEYS[2]) or ''
local own = epoch .. ' ' .. address
if present and redis.call('PTTL', KEYS[1]) == -1 then
    -- No edge writes without an end: an operator pinned it, maybe to an edge, maybe to this very one.
    return present == address and 'ours' or 'operator'
end
if present and present ~= address then
    local their_epoch, their_address = string.match(writer, '^(%d+) (.+)$')
    if their_address ~= present then
        return 'operator'
    end
    if tonumber(their_epoch) >= tonumber(epoch) then
        return 'newer'
    end
elseif present == address and writer == own and redis.call('PTTL', KEYS[1]) > life_ms * 0.6 then
    -- A write would tell every proxy to ask again.
    return 'ours'
end
redis.call('SET', KEYS[1], address, 'PX', life_ms)
redis.call('SET', KEYS[2], own, 'PX', life_ms)
return 'ours'
