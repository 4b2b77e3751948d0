-- Gives jobs back unfinished, first in line and without any charge.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  holder
-- ARGV[3…] per job: id, token
--
-- Returns  how many were given back
-- Moves    running -> queued

local prefix, held = KEYS[1], KEYS[1] .. 'held:' .. ARGV[2]
local owned = {}
for index = 3, #ARGV, 2 do
  if owns(call('HGET', held, ARGV[index]), ARGV[index + 1]) then owned[#owned + 1] = ARGV[index] end
end
if #owned == 0 then return 0 end
call('HDEL', held, unpack(owned))
for index = #owned, 1, -1 do
  local _, losses = read_faults(call('HGET', prefix .. 'faults', owned[index]))
  call('LPUSH', prefix .. lane(losses), owned[index])
end
call('HINCRBY', prefix .. 'stats', 'released', #owned)
wake(prefix)
return #owned
