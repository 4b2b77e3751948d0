-- Puts new jobs into a queue; a job whose id is known already is left as it is.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  how many jobs may wait in the queue
-- ARGV[3]  how many jobs must fit for anything to be accepted, those known already left out; '' to accept as many as fit
-- ARGV[4…] per job: id, due ('' now, 'd<ms>' after a delay, 'a<ms>' at a time), '1' for a chosen id, envelope
--
-- Returns  one character per job: '1' created, '0' known already, 'f' the queue is full
-- Moves    nothing -> queued | scheduled

local prefix, limit, needed = KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local jobs, count = prefix .. 'jobs', (#ARGV - 3) / 4

local has_ghosts = call('EXISTS', prefix .. 'ghosts') == 1

-- One job of an id that was not chosen, to run now, far from the limit: the same as below, at half the cost.
if count == 1 and ARGV[5] == '' and ARGV[6] == '' and not has_ghosts and call('HLEN', jobs) + (needed or 1) < limit then
  local id = ARGV[4]
  if call('HSETNX', jobs, id, stamp .. ARGV[7]) == 0 then return '0' end
  call('RPUSH', prefix .. 'ready', id)
  wake(prefix)
  call('HINCRBY', prefix .. 'stats', 'published', 1)
  return '1'
end

local ids = {}
for index = 1, count do ids[index] = ARGV[4 * index] end
local known = call('HMGET', jobs, unpack(ids))

-- All jobs there are, finished ones too: only when they come near the limit, those that wait are counted.
local room = limit - call('HLEN', jobs)
if room < math.max(count, needed or 0) then
  room = limit - count_queued(prefix) - call('ZCARD', prefix .. 'scheduled') - call('ZCARD', prefix .. 'retrying')
end
if needed then
  for index = 1, count do
    if known[index] then needed = needed - 1 end
  end
  if needed > room then return string.rep('f', count) end
end

local answers, taken, fields, ready, later, earliest, outdated = {}, {}, {}, {}, {}, nil, {}
for index, id in ipairs(ids) do
  local due, chosen = ARGV[4 * index + 1], ARGV[4 * index + 2] == '1'
  local is_known = known[index] or taken[id]
  if chosen and not is_known then
    is_known = tonumber(call('ZSCORE', prefix .. 'remembered', id) or 0) > now
  end
  if is_known then
    answers[index] = '0'
  elseif room <= 0 then
    answers[index] = 'f'
  else
    answers[index], taken[id], room = '1', true, room - 1
    fields[#fields + 1] = id
    fields[#fields + 1] = stamp .. (chosen and '!' or '') .. ARGV[4 * index + 3]
    if chosen then
      outdated[#outdated + 1] = prefix .. 'result:' .. id
      outdated[#outdated + 1] = prefix .. 'history:' .. id
    end
    local time = now
    if due ~= '' then
      time = tonumber(string.sub(due, 2)) + (string.sub(due, 1, 1) == 'd' and now or 0)
    end
    if time <= now then
      ready[#ready + 1] = id
    else
      later[#later + 1] = int(time)
      later[#later + 1] = id
      if not earliest or time < earliest then earliest = time end
    end
  end
end
if #fields == 0 then return table.concat(answers) end

call('HSET', jobs, unpack(fields))
-- What an earlier job of this id left behind can outlive the memory of it.
if #outdated > 0 then call('DEL', unpack(outdated)) end
if has_ghosts then
  -- An id cancelled in mid-queue and forgotten since still has its old place; it must not run from there.
  for id in pairs(taken) do
    if call('SREM', prefix .. 'ghosts', id) == 1 then
      for _, list in ipairs({'ready', 'suspects', 'solo'}) do call('LREM', prefix .. list, 1, id) end
    end
  end
end
if #ready > 0 then
  call('RPUSH', prefix .. 'ready', unpack(ready))
  wake(prefix)
end
if #later > 0 then
  local head = call('ZRANGE', prefix .. 'scheduled', 0, 0, 'WITHSCORES')
  call('ZADD', prefix .. 'scheduled', unpack(later))
  if not head[2] or earliest < tonumber(head[2]) then wake(prefix) end
end
call('HINCRBY', prefix .. 'stats', 'published', #fields / 2)
return table.concat(answers)
