-- Pauses, resumes or deletes a schedule.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  id          ARGV[3]  'pause', 'resume' or 'delete'
-- ARGV[4]  to resume: revision of the schedule as it was read
-- ARGV[5]  to resume: its next tick in milliseconds, '' none
-- ARGV[6]  to delete: within how many milliseconds a pool that declares schedules must have asked for them
--
-- Returns  1 done, 0 there is no such schedule, -1 it was changed meanwhile, -2 the code of a pool declares it
-- Moves    nothing

local prefix, id, action = KEYS[1], ARGV[2], ARGV[3]
expect(action == 'pause' or action == 'resume' or action == 'delete', 'an action')
local tick, patience = ARGV[5], whole(ARGV[6], 1)
expect(tick == '' or whole(tick, 0), 'a tick')
local schedule = call('HGET', prefix .. 'schedules', id)
if not schedule then return 0 end

if action == 'delete' then
  if string.sub(schedule, 1, 1) == 'd' then
    local known = call('HGETALL', prefix .. 'declarations')
    for index = 1, #known, 2 do
      local seen = known[index] ~= '' and tonumber(string.match(known[index + 1], ',(%d+)$') or 0)
      if seen and now - seen <= patience then return -2 end
    end
  end
  call('HDEL', prefix .. 'schedules', id)
  call('HDEL', prefix .. 'fired', id)
  call('ZREM', prefix .. 'ticks', id)
  if call('EXISTS', prefix .. 'schedules') == 0 then call('DEL', prefix .. 'declarations') end
  return 1
end

local state = read_fired(prefix, id)
if action == 'pause' then
  call('ZREM', prefix .. 'ticks', id)
  write_fired(prefix, id, '1', '0', state)
  return 1
end
if revision_of(schedule) ~= ARGV[4] then return -1 end
if state.paused ~= '1' then return 1 end
call('ZREM', prefix .. 'ticks', id)
write_fired(prefix, id, '0', '0', state)
set_tick(prefix, id, tick, false)
wake_for_tick(prefix, id)
return 1
