-- Sets the limits of a queue for all pools, whatever their code says, or lets the code decide again.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  limits, see `read_rules`; '-' for those of the code
--
-- Returns  1
-- Moves    nothing

local prefix = KEYS[1]
expect(ARGV[2] == '-' or not string.find(ARGV[2], '[^%l%d/,;]'), 'limits')
call('HDEL', prefix .. 'control', 'limits')
if ARGV[2] ~= '-' then call('HSET', prefix .. 'control', 'limits', ARGV[2]) end
-- What the limits before held back, these may allow.
for _, key in ipairs(call('HKEYS', prefix .. 'used')) do offer(prefix, key) end
wake(prefix)
return 1
