-- Ends jobs that succeeded and keeps what they returned.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  holder
-- ARGV[3]  number of this call; repeated with the same number it gives the same answer
-- ARGV[4]  how many finished jobs are kept     ARGV[5]  for how long at most, in milliseconds
-- ARGV[6]  for how long at least               ARGV[7]  how long a chosen id is remembered
-- ARGV[8]  how many jobs
-- ARGV[9…] per job: id, token, `<run>,<wait>` in milliseconds, with `!` behind for a chosen id;
--          then per result: number of its job, how long to keep it, result
--
-- Returns  one character per job: '1' done, 'n' done and to be passed on, see `pass_on`, 's' stale: somebody else's now, 'g' gone: Redis lost it
-- Moves    running -> succeeded

local prefix, holder, request = KEYS[1], ARGV[2], ARGV[3]
local jobs, held, calls = prefix .. 'jobs', prefix .. 'held:' .. holder, prefix .. 'calls:' .. holder
local before = call('HMGET', calls, 'ack', 'ack:answer')
if before[1] == request then return before[2] end

for index = 4, 7 do whole(ARGV[index], 0) end
local count, ids = whole(ARGV[8], 1), {}
local last = 8 + 3 * count
expect(holder ~= '' and last <= #ARGV and (#ARGV - last) % 3 == 0, 'three values per job and result')
for at = last + 1, #ARGV, 3 do expect(whole(ARGV[at], 1) <= count and whole(ARGV[at + 1], 1), 'a result') end
for index = 1, count do ids[index] = ARGV[3 * index + 6] end
local deliveries = call('HMGET', held, unpack(ids))
local answers, owned, times, given, results = {}, {}, {}, {}, {}
for at = 9 + 3 * count, #ARGV, 3 do given[tonumber(ARGV[at])] = at end
local has_more = call('EXISTS', prefix .. 'special', prefix .. 'faults') > 0
local has_extras = has_more and call('EXISTS', prefix .. 'special') == 1
for index, id in ipairs(ids) do
  if owns(deliveries[index], ARGV[3 * index + 7]) then
    answers[index] = has_extras and call('HEXISTS', prefix .. 'flows', id) == 1 and 'n' or '1'
    owned[#owned + 1] = id
    times[#owned] = ARGV[3 * index + 8]
    -- A process that was given up can hold a job twice: its refused run must not take the result along.
    results[id] = given[index]
  else
    answers[index] = refusal(prefix, id)
  end
end
local text = table.concat(answers)

call('HDEL', held, '', unpack(owned))
if #owned < count then call('HINCRBY', prefix .. 'stats', 'stale', count - #owned) end
if #owned == 0 then return answer(prefix, holder, 'ack', request, text) end

local faults = {}
if has_extras then
  -- Rare:
  for _, id in ipairs(owned) do
    local result = results[id] and ARGV[results[id] + 2] or ''
    let_go(prefix, id)
    pass_on(prefix, id, 'S', result)
  end
  let_others_on(prefix)
  -- Until here.
end
if has_more and call('EXISTS', prefix .. 'faults') == 1 then
  faults = call('HMGET', prefix .. 'faults', unpack(owned))
  call('HDEL', prefix .. 'faults', unpack(owned))
end
local fields, success, chosen_success = {}, 'S' .. stamp .. ',', 's' .. stamp .. ','
for index, id in ipairs(owned) do
  local time = times[index]
  local record = success .. time
  if string.byte(time, -1) == 33 then record = chosen_success .. string.sub(time, 1, -2) end
  if faults[index] then
    local errors, losses = read_faults(faults[index])
    record = record .. ',' .. int(errors + 1) .. ',' .. int(losses)
    call('PEXPIRE', prefix .. 'history:' .. id, ARGV[5])
  end
  if results[id] then record = record .. ',r' end
  fields[2 * index - 1] = id
  fields[2 * index] = record
end
call('HSET', jobs, unpack(fields))
call('RPUSH', prefix .. 'succeeded', unpack(owned))
for id, at in pairs(results) do call('SET', prefix .. 'result:' .. id, ARGV[at + 2], 'PX', ARGV[at + 1]) end
if call('EXISTS', prefix .. 'watched') == 1 then
  for _, id in ipairs(owned) do announce(prefix, id) end
end
call('HINCRBY', prefix .. 'stats', 'succeeded', #owned)
if call('LLEN', prefix .. 'succeeded') > tonumber(ARGV[4]) then
  -- Rare:
  trim(prefix, 'succeeded', 2 * #owned + 8, tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]))
  -- Until here.
end
return answer(prefix, holder, 'ack', request, text)
