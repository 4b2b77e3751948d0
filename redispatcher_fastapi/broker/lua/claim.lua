-- Gives a process jobs from several queues, each leased to it under a sequence number of its own.
--
-- KEYS[i]  prefix of a queue
-- ARGV[2…] per queue: holder, jobs wanted, how many of them may be suspects, sequence of the first, limits or '', see
--          `read_rules`
--
-- Returns  per queue: status (1, or 0 when the holder has no lease and must renew first), milliseconds until
--          a waiting job falls due or a limit allows the next one (-1: nothing waits for a time), number of solo jobs,
--          {id, record, …}, {faults, …} or {}, the time of the claim, which with its sequence is the token of each
--          delivery, the ids of jobs that the holder runs and somebody has cancelled, and 1 when the queue is paused
-- Moves    scheduled | retrying -> queued (when due), queued -> running, queued -> cancelled (expired)
-- Repeated with the same holder and sequence it answers with the same jobs.

local PROMOTED_AT_ONCE, TAKEN_AT_ONCE, LOOKED_AT = 500, 16, 200
local MANY, LONG = 16, string.rep(' ', 65)
local LISTS = {high = 'ready:high', normal = 'ready', low = 'ready:low'}
-- For all queues of a call together: it must not hold up the server for long, and a reply that takes longer than a
-- client waits for it would be repeated, and never arrive. What is left over wakes a pool again.
local jobs_left, bytes_left = 500, 1048576

local function promote(prefix, container, special)
  local head = call('ZRANGE', prefix .. container, 0, 0, 'WITHSCORES')
  if not head[2] or tonumber(head[2]) > now then return tonumber(head[2]) end
  local ids = call('ZRANGEBYSCORE', prefix .. container, '-inf', stamp, 'LIMIT', 0, PROMOTED_AT_ONCE)
  local lanes = {}
  if call('EXISTS', prefix .. 'faults') == 1 then
    for index, faults in ipairs(call('HMGET', prefix .. 'faults', unpack(ids))) do
      local _, losses = read_faults(faults)
      lanes[index] = lane(losses)
    end
  end
  call('ZREM', prefix .. container, unpack(ids))
  local ready = {}
  for index, id in ipairs(ids) do
    local name = lanes[index] or 'ready'
    if special and (name == 'ready' or call('HEXISTS', prefix .. 'partitions', id) == 1) then
      special.requeue(id)
    elseif name == 'ready' then
      ready[#ready + 1] = id
    else
      call('RPUSH', prefix .. name, id)
    end
  end
  if #ready > 0 then call('RPUSH', prefix .. 'ready', unpack(ready)) end
  head = call('ZRANGE', prefix .. container, 0, 0, 'WITHSCORES')
  return tonumber(head[2])
end

-- Takes ids off a list and adds those that are still to run; returns how many it added.
-- `level`: it is the list of that level, in a queue of which some jobs ask for more than to run in turn.
local function take(prefix, list, wanted, jobs, ids, level, special)
  local found = 0
  for _ = 1, wanted / TAKEN_AT_ONCE + 10 do
    local popped = bytes_left > 0 and wanted > found
      and call('LPOP', prefix .. list, math.min(wanted - found, TAKEN_AT_ONCE))
    if not popped or #popped == 0 then break end
    for index, record in ipairs(call('HMGET', prefix .. 'jobs', unpack(popped))) do
      local is_taken
      if level then is_taken = special.starts(level, popped[index], record)
      else is_taken = record and not is_finished(record) end
      if is_taken then
        found, bytes_left = found + 1, bytes_left - #record
        ids[#ids + 1] = popped[index]
        jobs[#jobs + 1] = popped[index]
        jobs[#jobs + 1] = record
      elseif not level then
        call('SREM', prefix .. 'ghosts', popped[index])
      end
    end
  end
  return found
end

-- What there is to do in a queue whose jobs do not only run in turn, or that has limits or a pause.
local function make_special(prefix, held, limits)
  -- Rare:
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
      if found >= wanted or bytes_left <= 0 or (band == 0 and lost >= suspects) then return found, lost, false end
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
            found, bytes_left, lost = found + 1, bytes_left - #record, lost + ((band == 0 or losses > 0) and 1 or 0)
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
    for _, key in ipairs(call('ZRANGEBYSCORE', prefix .. 'resting', '-inf', stamp, 'LIMIT', 0, PROMOTED_AT_ONCE)) do
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
  -- Until here.

  return {starts = starts, requeue = requeue, list_cancelled = list_cancelled, is_paused = is_paused, prepare = prepare,
    take_by_level = take_by_level, look_back = look_back}
end

local function replay(prefix, held, first, wanted)
  local deliveries, found, time = call('HGETALL', held), {}, stamp
  for index = 1, #deliveries, 2 do
    local sequence, started = string.match(deliveries[index + 1], '^(%d+),(%d+)')
    local place = (tonumber(sequence) or -1) - first + 1
    if place >= 1 and place <= wanted then found[place], time = deliveries[index], started end
  end
  local jobs, faults = {}, {}
  for index, id in ipairs(found) do
    jobs[#jobs + 1] = id
    jobs[#jobs + 1] = call('HGET', prefix .. 'jobs', id) or ''
    faults[index] = call('HGET', prefix .. 'faults', id) or ''
  end
  return jobs, faults, time
end

local function claim(prefix, holder, wanted, suspects, first, limits)
  local calls, held = prefix .. 'calls:' .. holder, prefix .. 'held:' .. holder
  if not call('ZSCORE', prefix .. 'leases', holder) then return {0, -1, 0, {}, {}, stamp, {}, 0} end
  -- Of queues whose jobs only ever run in turn, nothing else needs to be looked at. A suspect that was cancelled has no
  -- faults any more, and is still to be taken out of its list.
  local has_faults = call('EXISTS', prefix .. 'special', prefix .. 'faults', prefix .. 'suspects', prefix .. 'solo') > 0
  local special
  if limits ~= '' or has_faults and has_traits(prefix) then
    special = make_special(prefix, held, limits)
    has_faults = call('EXISTS', prefix .. 'faults', prefix .. 'suspects', prefix .. 'solo') > 0
  end
  local last = call('HGET', calls, 'claim')
  if last and tonumber(last) >= tonumber(first) then
    local cancelled, is_paused = special and special.list_cancelled() or {}, special and special.is_paused()
    if last ~= first then return {1, 0, 0, {}, {}, stamp, cancelled, is_paused and 1 or 0} end
    local jobs, faults, time = replay(prefix, held, tonumber(first), wanted)
    return {1, 0, call('LLEN', prefix .. 'solo'), jobs, faults, time, cancelled, is_paused and 1 or 0}
  end

  -- What is written first is what Redis takes at maxmemory, too.
  if special then call('HDEL', held, '') end
  local due, retry = promote(prefix, 'scheduled', special), promote(prefix, 'retrying', special)
  if retry and (not due or retry < due) then due = retry end

  wanted = math.min(wanted, jobs_left)
  local room, is_full, next_at, is_paused = wanted, false, nil, false
  if special then
    room, is_full, next_at, is_paused = special.prepare(has_faults)
    wanted = math.min(wanted, room)
  end
  local jobs, ids, faults, solo, left, has_more, is_stopped = {}, {}, {}, 0, 0, false, false
  if wanted > 0 then
    if has_faults and suspects > 0 then
      suspects = suspects - take(prefix, 'suspects', math.min(suspects, wanted), jobs, ids, special and 'suspects', special)
      wanted = wanted - #ids
    end
    if special then
      has_more = special.take_by_level(wanted, suspects, jobs, ids)
    else
      take(prefix, 'ready', wanted, jobs, ids)
    end
    jobs_left = jobs_left - #ids
    if #ids > 0 then
      if has_faults then faults = call('HMGET', prefix .. 'faults', unpack(ids)) end
      if has_faults then
        for index = 1, #ids do faults[index] = faults[index] or '' end
      end
      local deliveries, sequence, started = {}, tonumber(first), ',' .. stamp
      for index = 1, #ids do
        deliveries[2 * index - 1] = ids[index]
        deliveries[2 * index] = sequence .. started
        sequence = sequence + 1
      end
      -- What is held by the dozen is searched for by the dozen: a value this long makes Redis index the hash.
      local is_small = #ids >= MANY and call('HLEN', held) == 0
      if is_small then call('HSET', held, '', LONG) end
      call('HSET', held, unpack(deliveries))
      if is_small then call('HDEL', held, '') end
      call('HSET', calls, 'claim', first)
    end
  end
  if has_faults or special then
    solo, left = call('LLEN', prefix .. 'solo'), call('LLEN', prefix .. 'suspects')
  end
  local ready = call('LLEN', prefix .. 'ready')
  if special then
    ready, left, is_stopped, due = special.look_back(#ids, room, is_full, next_at, ready, left, solo, due)
    if is_paused then solo = 0 end
  end
  local wait = due and math.ceil(math.max(0, due - now)) or -1
  -- Suspects this process may not take would wake it again and again; whoever ends one claims by itself.
  if not is_stopped and ((#ids > 0 and left or 0) + ready > 0 or has_more) then
    wake(prefix)
  elseif left == 0 or is_stopped then
    call('DEL', prefix .. 'wake')
  end
  return {1, wait, solo, jobs, faults, stamp, special and special.list_cancelled() or {}, is_paused and 1 or 0}
end

local out, prefixes = {}, queues(KEYS)
expect(#ARGV == 5 * #prefixes + 1, 'five values per queue')
for index = 2, #ARGV, 5 do
  expect(ARGV[index] ~= '' and whole(ARGV[index + 1], 0) and whole(ARGV[index + 2], 0) and whole(ARGV[index + 3], 0), 'a claim')
  expect(ARGV[index + 4] == '' or is_limits(ARGV[index + 4]), 'limits')
end
for index, prefix in ipairs(prefixes) do
  local base = 5 * index - 3
  out[index] = claim(prefix, ARGV[base], tonumber(ARGV[base + 1]), tonumber(ARGV[base + 2]), ARGV[base + 3], ARGV[base + 4])
end
return out
