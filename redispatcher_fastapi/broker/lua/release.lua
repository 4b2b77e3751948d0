-- Gives jobs back unfinished, first in line and without any charge.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  holder
-- ARGV[3]  number of this call; repeated with the same number it gives the same answer
-- ARGV[4]  how long a cancelled job is kept, in milliseconds
-- ARGV[5…] per job: id, token
--
-- Returns  one character per job: '1' done, 'c' cancelled instead, as somebody asked for,
--          's' stale: somebody else's now, 'g' gone: Redis lost it
-- Moves    running -> queued | cancelled

local prefix, holder, request = KEYS[1], ARGV[2], ARGV[3]
local held, calls = prefix .. 'held:' .. holder, prefix .. 'calls:' .. holder
local before = call('HMGET', calls, 'release', 'release:answer')
if before[1] == request then return before[2] end

expect(holder ~= '' and whole(ARGV[4], 0) and #ARGV > 4 and #ARGV % 2 == 0, 'two values per job')
local has_extras = call('EXISTS', prefix .. 'special') == 1
local owned, deliveries, answers, refused = {}, {}, {}, 0
for index = 1, (#ARGV - 4) / 2 do
  local id = ARGV[2 * index + 3]
  local delivery = call('HGET', held, id)
  if owns(delivery, ARGV[2 * index + 4]) then
    owned[#owned + 1] = id
    deliveries[#owned] = delivery
    answers[index] = has_extras and call('SISMEMBER', prefix .. 'cancelling', id) == 1 and 'c' or '1'
  else
    answers[index] = refusal(prefix, id)
    refused = refused + 1
  end
end
local text = table.concat(answers)
call('HDEL', held, '', unpack(owned))
if refused > 0 then call('HINCRBY', prefix .. 'stats', 'stale', refused) end
if #owned == 0 then return answer(prefix, holder, 'release', request, text) end
local released = 0
for index = #owned, 1, -1 do
  local id = owned[index]
  local errors, losses = read_faults(call('HGET', prefix .. 'faults', id))
  local is_cancelled = has_extras and call('SISMEMBER', prefix .. 'cancelling', id) == 1
  local record = is_cancelled and call('HGET', prefix .. 'jobs', id)
  if record then
    -- Rare:
    end_cancelled(prefix, id, record, started_of(deliveries[index]), errors + 1, losses, ARGV[4])
    -- Until here.
  else
    if has_extras then
      -- Rare:
      free_slot(prefix, id)
      queue_again(prefix, id, losses)
      -- Until here.
    else
      call('LPUSH', prefix .. lane(losses), id)
    end
    released = released + 1
  end
end
if released > 0 then call('HINCRBY', prefix .. 'stats', 'released', released) end
wake(prefix)
return answer(prefix, holder, 'release', request, text)
