-- Puts the schedules that the code of a pool declares in the place of those that were declared before.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  version of these declarations
-- ARGV[3…] per schedule: id, schedule ('' leaves it as it is), its next tick in milliseconds ('' none), '1' to keep
--          the tick that it has
--
-- Returns  1, or 0 when another version has come into force meanwhile
-- Moves    nothing

local prefix, version = KEYS[1], ARGV[2]
local count = (#ARGV - 2) / 4
expect(version ~= '' and count % 1 == 0, 'four values per schedule')
for index = 3, #ARGV, 4 do
  expect(ARGV[index] ~= '' and (ARGV[index + 2] == '' or whole(ARGV[index + 2], 0)), 'a schedule')
end

local declarations, schedules = prefix .. 'declarations', prefix .. 'schedules'
local known, own, declared = call('HGETALL', declarations), nil, ''
for index = 1, #known, 2 do
  if known[index] == '' then declared = known[index + 1] end
  if known[index] == version then own = tonumber(string.match(known[index + 1], '^(%d+),') or 0) end
end
for index = 1, #known, 2 do
  local since = known[index] ~= '' and tonumber(string.match(known[index + 1], '^(%d+),') or 0)
  if since and own and (since > own or (since == own and known[index] > version)) then return 0 end
end
if not own then return 0 end

local is_given, ids = {}, {version}
for index = 3, #ARGV, 4 do
  is_given[ARGV[index]] = true
  ids[#ids + 1] = ARGV[index]
end
call('HSET', declarations, '', table.concat(ids, ' '))
for id in string.gmatch(declared, ' (%S+)') do
  local schedule = not is_given[id] and call('HGET', schedules, id)
  if schedule and string.sub(schedule, 1, 1) == 'd' then
    call('HDEL', schedules, id)
    call('HDEL', prefix .. 'fired', id)
    call('ZREM', prefix .. 'ticks', id)
  end
end
for index = 3, #ARGV, 4 do
  local id, schedule, tick = ARGV[index], ARGV[index + 1], ARGV[index + 2]
  if schedule ~= '' then call('HSET', schedules, id, schedule) end
  set_tick(prefix, id, tick, ARGV[index + 3] == '1')
end
if count == 0 and call('EXISTS', schedules) == 0 then call('DEL', declarations) end
return 1
