-- Sends a dead job through its queue once more, with its counts reset and its history kept.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  id
--
-- Returns  1 redriven by this call, 0 not dead, -1 unknown
-- Moves    dead -> queued

local prefix, id = KEYS[1], ARGV[2]
local record = call('HGET', prefix .. 'jobs', id)
if not record then return -1 end
local body = string.match(record, '^[Dd]%d+,%-?%d+,%-?%d+,%d+,%d+,[^\n]*\n(.*)$')
if not body then return 0 end
call('ZREM', prefix .. 'dead', id)
call('HSET', prefix .. 'jobs', id, body)
call('PERSIST', prefix .. 'history:' .. id)
-- Whoever ends a job that has faults lets its history expire.
call('HSET', prefix .. 'faults', id, '0,0,0')
queue_up(prefix, id)
call('HINCRBY', prefix .. 'stats', 'redriven', 1)
wake(prefix)
return 1
