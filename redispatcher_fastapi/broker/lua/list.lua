-- Lists ids of jobs in one state: waiting ones as they will run, finished ones newest first.
-- Of jobs with partitions, those of one level come line after line, the longest first, and not in turn.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  state
-- ARGV[3]  how many to pass over
-- ARGV[4]  how many to list
--
-- Returns  ids; some may have left the state, or the queue, in the meantime
-- Moves    nothing

local MOST_LOOKED_AT, LINES_AT_ONCE = 10000, 100
local prefix, state, skip, count = KEYS[1], ARGV[2], whole(ARGV[3], 0), whole(ARGV[4], 1)
if state == 'scheduled' or state == 'retrying' then
  return call('ZRANGE', prefix .. state, skip, skip + count - 1)
elseif state == 'dead' then
  return call('ZREVRANGE', prefix .. state, skip, skip + count - 1)
elseif state == 'succeeded' or state == 'cancelled' then
  local ids, newest_first = call('LRANGE', prefix .. state, -skip - count, -skip - 1), {}
  for index = #ids, 1, -1 do newest_first[#newest_first + 1] = ids[index] end
  return newest_first
end

local ids, passed = {}, {}
-- Whether the entry of an id in the list of a level counts no more; there is one such entry at the most.
local function is_void(level, id)
  local entry = level .. ':' .. id
  if passed[entry] or call('SISMEMBER', prefix .. 'moved', entry) == 0 then return false end
  passed[entry] = true
  return true
end
local function add(list, length, level)
  local first, looked_at = skip, 0
  while #ids < count and first < length and looked_at < MOST_LOOKED_AT do
    local last = first + count - #ids - 1
    for _, id in ipairs(call('LRANGE', list, first, last)) do
      if not (level and is_void(level, id)) then ids[#ids + 1] = id end
    end
    first, looked_at = last + 1, looked_at + last + 1 - first
  end
  skip = math.max(0, skip - length)
end
if state == 'queued' then
  add(prefix .. 'suspects', call('LLEN', prefix .. 'suspects'))
  local has_levels = call('EXISTS', prefix .. 'levels') == 1
  for _, level in ipairs({'high', 'normal', 'low'}) do
    local list = ready_list(prefix, level)
    add(list, call('LLEN', list), level)
    local passed_over, keys = 0, nil
    repeat
      -- A hundred thousand lines are not to be looked at for a level that no job has.
      local is_needed = #ids < count and (has_levels or level == 'normal')
      keys = is_needed and call('ZREVRANGE', prefix .. 'lines', passed_over, passed_over + LINES_AT_ONCE - 1) or {}
      for _, key in ipairs(keys) do
        if #ids == count then break end
        list = prefix .. 'line:' .. level .. ':' .. key
        add(list, call('LLEN', list), level)
      end
      passed_over = passed_over + LINES_AT_ONCE
    until #keys < LINES_AT_ONCE
  end
  add(prefix .. 'solo', call('LLEN', prefix .. 'solo'))
  return ids
end
for _, holder in ipairs(call('ZRANGE', prefix .. 'leases', 0, -1)) do
  if holder ~= '' then
    for _, id in ipairs(call('HKEYS', prefix .. 'held:' .. holder)) do
      if skip > 0 then skip = skip - 1 elseif #ids < count then ids[#ids + 1] = id end
    end
  end
end
return ids
