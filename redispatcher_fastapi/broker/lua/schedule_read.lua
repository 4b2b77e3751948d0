-- Tells everything about schedules: of some ids, or a page of all.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  '' for those of the ids that follow, or how many of all
-- ARGV[3…] ids; or of a page, the id that it begins after
--
-- Returns  the time now, then per schedule: id, schedule ('' there is none), next tick in milliseconds ('' none), state
-- Moves    nothing

local prefix, ids = KEYS[1], {}
if ARGV[2] == '' then
  for index = 3, #ARGV do ids[index - 2] = ARGV[index] end
else
  local most, all = whole(ARGV[2], 1), call('HKEYS', prefix .. 'schedules')
  table.sort(all)
  for _, id in ipairs(all) do
    if id > ARGV[3] and #ids < most then ids[#ids + 1] = id end
  end
end
local out = {stamp}
for _, id in ipairs(ids) do
  local tick = call('ZSCORE', prefix .. 'ticks', id)
  out[#out + 1] = id
  out[#out + 1] = call('HGET', prefix .. 'schedules', id) or ''
  out[#out + 1] = tick and int(tonumber(tick)) or ''
  out[#out + 1] = call('HGET', prefix .. 'fired', id) or ''
end
return out
