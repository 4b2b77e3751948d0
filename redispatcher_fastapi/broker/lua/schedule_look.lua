-- Tells pools which schedules are due, and which of several versions of the code declares them.
--
-- KEYS[i]  prefix of a queue
-- ARGV[2]  after how many milliseconds a version that nobody asks for any more is forgotten
-- ARGV[3…] per queue: version of the caller's declarations, when the caller began ('' now), in milliseconds
--
-- Returns  per queue: the time now, '1' when the caller is to declare its schedules, milliseconds until there
--          is something to do (-1: nothing), {id, schedule, tick, state, …} of those that are due
-- Moves    nothing
-- The version in force is the one that began last of those that pools still run; schedules that wait for their
-- previous job to end are due once it has ended.

local AT_ONCE, LOOKED_AT, BYTES, BLOCKED = 100, 1000, 1048576, 1000
local patience = whole(ARGV[2], 1)
local prefixes = queues(KEYS)
expect(#ARGV == 2 + 2 * #prefixes, 'two values per queue')
for index = 3, #ARGV, 2 do
  expect(ARGV[index] ~= '' and (ARGV[index + 1] == '' or whole(ARGV[index + 1], 0)), 'a version')
end

-- Notes that a version runs, and tells whether it is to be declared now.
local function note(prefix, version, began)
  local declarations = prefix .. 'declarations'
  local known, others, declared, newest = call('HGETALL', declarations), {}, '', 0
  local first = began
  for index = 1, #known, 2 do
    local name = known[index]
    local since, seen = string.match(known[index + 1], '^(%d+),(%d+)$')
    if name == '' then
      declared = string.match(known[index + 1], '^%S+') or ''
    else
      since, seen = tonumber(since or 0), tonumber(seen or 0)
      newest = math.max(newest, seen)
      if name == version then first = math.min(first, since) else others[#others + 1] = {name, since, seen} end
    end
  end
  -- After an outage nobody could have asked, and after a step of the clock nobody knows: then each has its time anew.
  local is_outage = newest > now or now - newest > patience / 2
  local latest, in_force, gone, seen_now = nil, nil, {}, {version, int(first) .. ',' .. stamp}
  for _, other in ipairs(others) do
    local name, since, seen = other[1], other[2], other[3]
    if not is_outage and now - seen > patience then
      gone[#gone + 1] = name
    else
      if is_outage then
        seen_now[#seen_now + 1] = name
        seen_now[#seen_now + 1] = int(since) .. ',' .. stamp
      end
      if not latest or since > latest or (since == latest and name > in_force) then latest, in_force = since, name end
    end
  end
  call('HDEL', declarations, version, unpack(gone))
  call('HSET', declarations, unpack(seen_now))
  if latest and (latest > first or (latest == first and in_force > version)) then return false end
  return declared ~= version or (version ~= '-' and call('EXISTS', prefix .. 'schedules') == 0)
end

local function look(prefix, version, began)
  -- A queue that has no schedules, and gets none, is left alone.
  if version == '-' and call('EXISTS', prefix .. 'schedules', prefix .. 'declarations') == 0 then
    return {stamp, '0', -1, {}}
  end
  local must_declare, due, wait = note(prefix, version, began), {}, nil
  local ticks, bytes = call('ZRANGEBYSCORE', prefix .. 'ticks', '-inf', stamp, 'WITHSCORES', 'LIMIT', 0, LOOKED_AT), BYTES
  for index = 1, #ticks, 2 do
    local id = ticks[index]
    local state = call('HGET', prefix .. 'fired', id) or ''
    local last = string.match(state, '^0,1,.*,([^,]*)$')
    local record = last and call('HGET', prefix .. 'jobs', last)
    if record and not is_finished(record) then
      wait = math.min(wait or BLOCKED, BLOCKED)
    elseif #due < 4 * AT_ONCE and bytes > 0 then
      local schedule = call('HGET', prefix .. 'schedules', id)
      if schedule then
        bytes = bytes - #schedule
        due[#due + 1] = id
        due[#due + 1] = schedule
        due[#due + 1] = int(tonumber(ticks[index + 1]))
        due[#due + 1] = state
      else
        call('ZREM', prefix .. 'ticks', id)
      end
    else
      wait = 0
    end
  end
  if #ticks == 2 * LOOKED_AT then wait = 0 end
  local head = call('ZRANGEBYSCORE', prefix .. 'ticks', '(' .. stamp, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if head[2] then
    local left = tonumber(head[2]) - now
    wait = math.min(wait or left, left)
  end
  return {stamp, must_declare and '1' or '0', wait or -1, due}
end

local out = {}
for index, prefix in ipairs(prefixes) do
  local version, began = ARGV[2 * index + 1], tonumber(ARGV[2 * index + 2]) or now
  out[index] = look(prefix, version, began)
end
return out
