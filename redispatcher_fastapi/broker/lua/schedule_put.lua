-- Makes or replaces a schedule at run time.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  id          ARGV[3]  revision of the schedule as it was read, '' when there was none
-- ARGV[4]  schedule    ARGV[5]  its next tick in milliseconds, '' none
-- ARGV[6]  '1' to keep the tick that it has
--
-- Returns  1 done, 0 when it was changed meanwhile
-- Moves    nothing

local prefix, id, tick = KEYS[1], ARGV[2], ARGV[5]
expect(id ~= '' and ARGV[4] ~= '' and (tick == '' or whole(tick, 0)), 'a schedule')
local known = call('HGET', prefix .. 'schedules', id)
-- Repeated after a lost reply, it is there already.
if known == ARGV[4] then return 1 end
if (known and revision_of(known) or '') ~= ARGV[3] then return 0 end
call('HSET', prefix .. 'schedules', id, ARGV[4])
set_tick(prefix, id, tick, ARGV[6] == '1')
wake_for_tick(prefix, id)
return 1
