-- Stands behind the prelude: how jobs end, and how they are forgotten.
--
-- KEYS[i]  see the prelude

-- Notes for any pool to pass on how a job ended of which something follows: `<letter><continuation>\n<details>`, letter S, D
-- or C as in its record. A continuation that begins with `+` is for a success only, and stays with a dead job, which may
-- be redriven; any other is for the first end, whatever that is. Tells whether there is something to pass on.
local function pass_on(prefix, id, letter, details)
  local continuation = call('HGET', prefix .. 'flows', id)
  if not continuation then return false end
  local is_for_success = string.byte(continuation) == 43
  if letter ~= 'D' or not is_for_success then call('HDEL', prefix .. 'flows', id) end
  if letter ~= 'S' and is_for_success then return false end
  call('HSET', prefix .. 'onward', id, letter .. continuation .. '\n' .. details)
  return true
end

-- Ends a job for good while keeping its body, so that it can be looked at and redriven.
local function bury(prefix, id, record, started, attempts, losses, reason, max_age)
  local head = finished_record('D', record, started, attempts, losses)
  if attempts == 1 and losses == 0 then head = head .. ',1,0' end
  call('HSET', prefix .. 'jobs', id, head .. ',' .. reason .. '\n' .. record)
  call('ZADD', prefix .. 'dead', stamp, id)
  call('HDEL', prefix .. 'faults', id)
  call('PEXPIRE', prefix .. 'history:' .. id, max_age)
  if has_traits(prefix) then
    let_go(prefix, id, true)
    pass_on(prefix, id, 'D', reason)
  end
  announce(prefix, id)
end

-- Ends a job that was cancelled or, if that is the reason, has expired.
local function end_cancelled(prefix, id, record, started, attempts, losses, max_age, reason)
  local text = finished_record('C', record, started, attempts, losses)
  if reason then
    if attempts == 1 and losses == 0 then text = text .. ',1,0' end
    text = text .. ',' .. reason
  end
  call('HDEL', prefix .. 'faults', id)
  call('HSET', prefix .. 'jobs', id, text)
  call('RPUSH', prefix .. 'cancelled', id)
  call('PEXPIRE', prefix .. 'history:' .. id, max_age)
  call('HINCRBY', prefix .. 'stats', reason or 'cancelled', 1)
  if has_traits(prefix) then
    let_go(prefix, id, false, true)
    pass_on(prefix, id, 'C', reason or '')
  end
  announce(prefix, id)
end

-- Recognises an id that the caller chose for some time after its record is gone.
local function remember(prefix, id, record, memory)
  if string.find(record, '^%l') then call('ZADD', prefix .. 'remembered', int(now + memory), id) end
end

-- Keeps the newest attempts only: a job that is redriven again and again would collect them for ever.
local function add_attempt(prefix, id, attempt)
  call('RPUSH', prefix .. 'history:' .. id, attempt)
  call('LTRIM', prefix .. 'history:' .. id, -20, -1)
end

-- Forgets the oldest finished jobs of one order: those too old, and those too many that are old enough to
-- no longer matter to a repeated publish. Looks at `budget` of them at the most, and tells whether it used it up.
local function trim(prefix, order, budget, max_count, max_age, min_age, memory)
  local ids = call('LRANGE', prefix .. order, 0, budget - 1)
  if #ids == 0 then return false end
  local excess = call('LLEN', prefix .. order) - max_count
  local records = call('HMGET', prefix .. 'jobs', unpack(ids))
  local passed, forgotten = 0, {}
  for index, id in ipairs(ids) do
    local record = records[index]
    if record and is_finished(record) then
      local age = now - tonumber(string.sub(record, 2, 14))
      if not (age > max_age or (age > min_age and passed < excess)) then break end
      forgotten[#forgotten + 1] = id
      records[#forgotten] = record
    end
    passed = passed + 1
  end
  if passed == 0 then return false end
  call('LPOP', prefix .. order, passed)
  if #forgotten > 0 then
    call('HDEL', prefix .. 'jobs', unpack(forgotten))
    for index, id in ipairs(forgotten) do
      remember(prefix, id, records[index], memory)
      -- Whoever succeeded at once, as most do, has no attempts to forget.
      if not string.find(records[index], '^[Ss]%d+,%-?%d+,%-?%d+,?r?$') then call('DEL', prefix .. 'history:' .. id) end
    end
  end
  return passed == budget
end
