-- Interrupts a process that waits for tokens, so that it can wait for those of other queues.
--
-- KEYS[1]  prefix of a queue
-- ARGV[2]  name of the list that this one process waits for besides
-- ARGV[3]  how long the token lives if nobody takes it, in milliseconds
--
-- Returns  1
-- Moves    nothing

local poke = KEYS[1] .. 'poke:' .. ARGV[2]
whole(ARGV[3], 1)
call('DEL', poke)
call('RPUSH', poke, '1')
call('PEXPIRE', poke, ARGV[3])
return 1
