-- Gives jobs back unfinished, first in line and without any charge.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  holder
-- ARGV[3]  number of this call; repeated with the same number it gives the same answer
-- ARGV[4…] per job: id, token
--
-- Returns  one character per job: '1' done, 's' stale: somebody else's now, 'g' gone: Redis lost it
-- Moves    running -> queued

local prefix, holder, request = KEYS[1], ARGV[2], ARGV[3]
local held, calls = prefix .. 'held:' .. holder, prefix .. 'calls:' .. holder
local before = call('HMGET', calls, 'release', 'release:answer')
if before[1] == request then return before[2] end

expect(holder ~= '' and #ARGV > 3 and #ARGV % 2 == 1, 'two values per job')
local owned, answers = {}, {}
for index = 1, (#ARGV - 3) / 2 do
  local id = ARGV[2 * index + 2]
  local is_owned = owns(call('HGET', held, id), ARGV[2 * index + 3])
  if is_owned then owned[#owned + 1] = id end
  answers[index] = is_owned and '1' or refusal(prefix, id)
end
local text = table.concat(answers)
call('HDEL', held, '', unpack(owned))
if #owned < #answers then call('HINCRBY', prefix .. 'stats', 'stale', #answers - #owned) end
if #owned == 0 then return answer(prefix, holder, 'release', request, text) end
for index = #owned, 1, -1 do
  local _, losses = read_faults(call('HGET', prefix .. 'faults', owned[index]))
  call('LPUSH', prefix .. lane(losses), owned[index])
end
call('HINCRBY', prefix .. 'stats', 'released', #owned)
wake(prefix)
return answer(prefix, holder, 'release', request, text)
