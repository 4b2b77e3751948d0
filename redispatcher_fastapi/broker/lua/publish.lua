-- Puts new jobs into a queue; a job whose id is known already is left as it is.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  how many jobs may wait in the queue
-- ARGV[3]  how many jobs must fit for anything to be accepted, those known already left out; '' to accept as many as fit
-- ARGV[4]  how many values there are per job: 2, or 4 where one has a time or a chosen id, or 10 where one asks for more
-- ARGV[5…] per job: id, envelope[, due ('' now, 'd<ms>' after a delay, 'a<ms>' at a time), '1' for a chosen id
--          [, six more, see `add_job`]]
--
-- Returns  one character per job: '1' created, '0' known already, 'f' the queue is full; where a job was not unique the
--          letters of `add_job`, in a list with the jobs that are there in their stead
-- Moves    nothing -> queued | scheduled, queued -> scheduled (debounced), scheduled | queued -> cancelled (expired, which is
--          noticed where its lock is wanted)

local prefix, limit, needed = KEYS[1], whole(ARGV[2], 0), ARGV[3] ~= '' and whole(ARGV[3], 0) or nil
local jobs, each = prefix .. 'jobs', tonumber(ARGV[4])
local count = (#ARGV - 4) / (each or 0)
expect((each == 2 or each == 4 or each == 10) and count > 0 and count % 1 == 0, 'jobs of 2, 4 or 10 values')
local has_ghosts = call('EXISTS', prefix .. 'ghosts', prefix .. 'moved') > 0
-- All jobs there are, finished ones too: only when they come near the limit, those that wait are counted.
local room = limit - call('HLEN', jobs)
local is_roomy = room >= math.max(count, needed or 0)

-- One new job to run now: the same as below, at half the cost.
if count == 1 and each == 2 and is_roomy and not has_ghosts then
  if call('HSETNX', jobs, ARGV[5], stamp .. ARGV[6]) == 0 then return '0' end
  call('RPUSH', prefix .. 'ready', ARGV[5])
  wake(prefix)
  call('HINCRBY', prefix .. 'stats', 'published', 1)
  return '1'
end

local ids, at = {}, 5
for index = 1, count do
  ids[index] = ARGV[at]
  at = at + each
end
local known = call('HMGET', jobs, unpack(ids))

if not is_roomy then
  -- Rare:
  room = limit - count_queued(prefix) - call('ZCARD', prefix .. 'scheduled') - call('ZCARD', prefix .. 'retrying')
  -- Until here.
end
if needed then
  for index = 1, count do
    if known[index] then needed = needed - 1 end
  end
  if needed > room then return string.rep('f', count) end
end

if each == 10 then
  -- Rare:
  for at = 5, #ARGV, 10 do check_job(ARGV, at) end
  local letters, others = {}, {}
  for index = 1, count do
    local other
    letters[index], other = add_job(prefix, ARGV, 10 * index - 5, room)
    if letters[index] == '1' then room = room - 1 end
    if other then others[#others + 1] = other end
  end
  local text = table.concat(letters)
  -- Until here.
  return #others > 0 and {text, unpack(others)} or text
end

local times = {}
if each == 4 then
  -- Rare:
  for index = 1, count do
    local due = ARGV[4 * index + 3]
    if due ~= '' then times[index] = time_of(due) end
  end
  -- Until here.
end
local answers, taken, fields, ready, later, earliest, outdated = {}, {}, {}, {}, {}, nil, {}
-- Counted, as `#` searches for the end of a table.
local new, now_ready = 0, 0
at = 5
for index, id in ipairs(ids) do
  local chosen = each == 4 and ARGV[at + 3] == '1'
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
    new = new + 1
    fields[2 * new - 1] = id
    fields[2 * new] = (chosen and stamp .. '!' or stamp) .. ARGV[at + 1]
    if chosen then
      outdated[#outdated + 1] = prefix .. 'result:' .. id
      outdated[#outdated + 1] = prefix .. 'history:' .. id
    end
    local time = times[index] or now
    if time <= now then
      now_ready = now_ready + 1
      ready[now_ready] = id
    else
      later[#later + 1] = int(time)
      later[#later + 1] = id
      if not earliest or time < earliest then earliest = time end
    end
  end
  at = at + each
end
if new == 0 then return table.concat(answers) end

call('HSET', jobs, unpack(fields))
-- What an earlier job of this id left behind can outlive the memory of it.
if #outdated > 0 then call('DEL', unpack(outdated)) end
if has_ghosts then
  -- An id cancelled in mid-queue and forgotten since still has its old place; it must not run from there.
  -- Rare:
  for id in pairs(taken) do forget_places(prefix, id) end
  -- Until here.
end
if now_ready > 0 then
  call('RPUSH', prefix .. 'ready', unpack(ready))
  wake(prefix)
end
if #later > 0 then
  local head = call('ZRANGE', prefix .. 'scheduled', 0, 0, 'WITHSCORES')
  call('ZADD', prefix .. 'scheduled', unpack(later))
  if not head[2] or earliest < tonumber(head[2]) then wake(prefix) end
end
call('HINCRBY', prefix .. 'stats', 'published', new)
return table.concat(answers)
