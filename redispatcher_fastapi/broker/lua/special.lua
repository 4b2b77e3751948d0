-- Stands behind the prelude: claims from a queue whose jobs do not only run in turn, or that has limits or a pause.
--
-- KEYS[i]  see the prelude

-- What `claim` does in such a queue; `take` and `budget` are its own.
local function make_special(prefix, held, limits, take, budget)
  local LISTS = {high = 'ready:high', normal = 'ready', low = 'ready:low'}
  local LOOKED_AT, RESTED_AT_ONCE = 200, 500
  local rules, marks = read_rules(prefix, limits), {}

  -- Whether a job that was taken off the list of a level, or of one in the line of its partition, is to start now; ends it
  -- if it has expired. One that belongs into a line goes there. `marks` tells what there is to look for.
  local function starts(level, id, record, is_in_line)
    if marks.moved and call('SREM', prefix .. 'moved', level .. ':' .. id) == 1 then return false end
    if not record or is_finished(record) then
      call('SREM', prefix .. 'ghosts', id)
      return false
    end
    if not is_in_line and marks.partitions and call('HEXISTS', prefix .. 'partitions', id) == 1 then
      -- A release that knows of no lines has put it here.
      queue_up(prefix, id, free_slot(prefix, id) ~= nil)
      return false
    end
    local expires = marks.expiries and call('ZSCORE', prefix .. 'expiries', id)
    if expires and tonumber(expires) <= now then
      end_cancelled(prefix, id, record, now, 0, 0, 0, 'expired')
      return false
    end
    if expires then call('ZREM', prefix .. 'expiries', id) end
    if marks.locks and string.byte(call('HGET', prefix .. 'locks', id) or '') == 119 then unlock(prefix, id) end
    return true
  end

  -- The first job in the lines of a partition, and its level.
  local function first_of(key)
    for _, level in ipairs({'high', 'normal', 'low'}) do
      local id = call('LINDEX', prefix .. 'line:' .. level .. ':' .. key, 0)
      if id then return id, level end
    end
  end

  -- Takes the first job of one partition after the other, of those in a band of the ring: 0 are those whose first job was
  -- lost with a process, 1 to 3 the levels. Returns how many it took, how many of them were lost before, and whether it
  -- gave up before it had looked at all. Each look takes a job out of a line, or a partition out of the band.
  local function take_in_turn(band, wanted, suspects, jobs, ids)
    local found, lost, first, last = 0, 0, int(band * 1e12), '(' .. int((band + 1) * 1e12)
    for _ = 1, 2 * wanted + LOOKED_AT do
      if found >= wanted or budget.bytes <= 0 or (band == 0 and lost >= suspects) then return found, lost, false end
      local key = call('ZRANGEBYSCORE', prefix .. 'ring', first, last, 'LIMIT', 0, 1)[1]
      if not key then return found, lost, false end
      local used = rules.slots and tonumber(call('HGET', prefix .. 'used', key) or 0) or 0
      local free, next_at = allowance(prefix .. 'starts:' .. key, rules.partition_rates)
      local id, level = first_of(key)
      local _, losses = read_faults(id and marks.faults and call('HGET', prefix .. 'faults', id))
      if rules.slots and used >= rules.slots then
        -- Whoever gives a slot back offers the partition again.
        call('ZREM', prefix .. 'ring', key)
      elseif free == 0 then
        call('ZREM', prefix .. 'ring', key)
        call('ZADD', prefix .. 'resting', int(next_at), key)
      elseif band > 0 and losses > 0 and losses < 3 and lost >= suspects then
        call('ZADD', prefix .. 'ring', int(call('HINCRBY', prefix .. 'stats', 'turns', 1)), key)
      else
        if id then call('LPOP', prefix .. 'line:' .. level .. ':' .. key) end
        local record = id and call('HGET', prefix .. 'jobs', id)
        if id and starts(level, id, record, true) then
          if call('HSET', prefix .. 'slots', id, (rules.is_ordered and 'o' or '-') .. key) == 1 then
            call('HINCRBY', prefix .. 'used', key, 1)
          end
          used = used + 1
          if losses >= 3 then
            call('RPUSH', prefix .. 'solo', id)
          else
            note_starts(prefix .. 'starts:' .. key, rules.partition_rates, {id})
            found, budget.bytes, lost = found + 1, budget.bytes - #record, lost + ((band == 0 or losses > 0) and 1 or 0)
            ids[#ids + 1] = id
            jobs[#jobs + 1] = id
            jobs[#jobs + 1] = record
          end
        end
        offer(prefix, key, true, rules.slots and used >= rules.slots)
      end
    end
    return found, lost, true
  end

  -- Lets partitions be served again that have rested.
  local function end_rests()
    for _, key in ipairs(call('ZRANGEBYSCORE', prefix .. 'resting', '-inf', stamp, 'LIMIT', 0, RESTED_AT_ONCE)) do
      call('ZREM', prefix .. 'resting', key)
      offer(prefix, key)
    end
  end

  -- Forgets a pause and a rest of the queue that have ended.
  local function end_stops()
    local control = call('HMGET', prefix .. 'control', 'paused', 'rest')
    local ends = control[1] and tonumber(string.match(control[1], '^%d+,(%d+),') or '')
    if ends and ends <= now then call('HDEL', prefix .. 'control', 'paused') end
    if control[2] and tonumber(control[2]) <= now then call('HDEL', prefix .. 'control', 'rest') end
  end

  -- Those that the holder runs and somebody has cancelled.
  local function list_cancelled()
    local found = {}
    for _, id in ipairs(call('SMEMBERS', prefix .. 'cancelling')) do
      if call('HEXISTS', held, id) == 1 then found[#found + 1] = id end
    end
    return found
  end

  -- In an ordered partition a job that is due again still has the turn: it goes before the others.
  local function requeue(id) queue_up(prefix, id, free_slot(prefix, id) ~= nil) end

  local function is_paused() return select(2, stopped_until(prefix)) end

  -- Takes the highest level first, and of each those without a partition.
  local function take_by_level(wanted, suspects, jobs, ids)
    local has_more = false
    for band = 0, 3 do
      local level = ({'high', 'normal', 'low'})[band]
      if level then wanted = wanted - take(prefix, LISTS[level], wanted, jobs, ids, level, {starts = starts}) end
      local count, lost, is_unfinished = take_in_turn(band, wanted, suspects, jobs, ids)
      wanted, suspects, has_more = wanted - count, suspects - lost, has_more or is_unfinished
    end
    note_starts(prefix .. 'starts', rules.rates, ids)
    return has_more
  end

  -- Looks at what there is before jobs are taken; `due` is when the first falls due.
  local function prepare(has_faults)
    end_stops()
    end_rests()
    marks.faults = has_faults
    for _, name in ipairs({'moved', 'expiries', 'locks', 'partitions'}) do marks[name] = call('EXISTS', prefix .. name) == 1 end
    return room_to_start(prefix, rules)
  end

  -- What is left, how many of it are suspects, whether a limit or a pause keeps it, and when the next of it is due.
  local function look_back(taken, room, is_full, next_at, ready, left, solo, due)
    -- Those whose first job was lost are for whoever may take suspects, as those are that have no partition.
    left = left + call('ZCOUNT', prefix .. 'ring', '-inf', '(1e12')
    ready = ready + call('LLEN', prefix .. 'ready:high') + call('LLEN', prefix .. 'ready:low')
      + call('ZCOUNT', prefix .. 'ring', '1e12', '+inf')
    local is_stopped = room <= taken
    if is_stopped and ready + left + solo > 0 then
      -- For as long as it takes the others to claim by themselves.
      if is_full then
        set_special(prefix)
        call('SET', prefix .. 'held_back', '1', 'PX', 60000)
      end
      next_at = next_at or select(3, room_to_start(prefix, rules))
      if next_at and next_at >= 0 and (not due or next_at < due) then due = next_at end
    end
    local rests = tonumber(call('ZRANGE', prefix .. 'resting', 0, 0, 'WITHSCORES')[2])
    if rests and (not due or rests < due) then due = rests end
    return ready, left, is_stopped, due
  end

  return {starts = starts, requeue = requeue, list_cancelled = list_cancelled, is_paused = is_paused, prepare = prepare,
    take_by_level = take_by_level, look_back = look_back}
end
