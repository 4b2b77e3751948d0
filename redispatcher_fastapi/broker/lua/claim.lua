-- Gives a process jobs from several queues, each leased to it under a sequence number of its own.
--
-- KEYS[i]  prefix of a queue
-- ARGV[2…] per queue: holder, jobs wanted, how many of them may be suspects, sequence of the first, limits or '', see
--          `read_rules`
--
-- Returns  per queue: status (1, or 0 when the holder has no lease and must renew first), milliseconds until
--          a waiting job falls due or a limit allows the next one (-1: nothing waits for a time), number of solo jobs,
--          {id, record, …}, {faults, …} or {}, the time of the claim, which with its sequence is the token of each
--          delivery, and the ids of jobs that the holder runs and somebody has cancelled
-- Moves    scheduled | retrying -> queued (when due), queued -> running, queued -> cancelled (expired)
-- Repeated with the same holder and sequence it answers with the same jobs.

local PROMOTED_AT_ONCE, TAKEN_AT_ONCE, LOOKED_AT = 500, 16, 200
local MANY, LONG = 16, string.rep(' ', 65)
-- For all queues of a call together: it must not hold up the server for long, and a reply that takes longer than a
-- client waits for it would be repeated, and never arrive. What is left over wakes a pool again.
local jobs_left, bytes_left = 500, 1048576

local function promote(prefix, container, has_routes)
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
    if has_routes and (name == 'ready' or call('HEXISTS', prefix .. 'partitions', id) == 1) then
      -- In an ordered partition it still has the turn: it goes before the others.
      queue_up(prefix, id, free_slot(prefix, id) ~= nil)
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

-- Whether a job that was taken off the list of a level is to start now; ends it if it has expired.
local function starts(prefix, level, id, record)
  if level and call('SREM', prefix .. 'moved', level .. ':' .. id) == 1 then return false end
  if not record or is_finished(record) then
    call('SREM', prefix .. 'ghosts', id)
    return false
  end
  local expires = call('ZSCORE', prefix .. 'expiries', id)
  if expires and tonumber(expires) <= now then
    end_cancelled(prefix, id, record, now, 0, 0, 0, 'expired')
    return false
  end
  if expires then call('ZREM', prefix .. 'expiries', id) end
  if string.byte(call('HGET', prefix .. 'locks', id) or '') == 119 then unlock(prefix, id) end
  return true
end

-- Takes ids off a list and adds those that are still to run; returns how many it added.
-- `level`: it is the list of that level, in a queue of which some jobs ask for more than to run in turn.
local function take(prefix, list, wanted, jobs, ids, level)
  local found = 0
  for _ = 1, wanted / TAKEN_AT_ONCE + 10 do
    local popped = bytes_left > 0 and wanted > found
      and call('LPOP', prefix .. list, math.min(wanted - found, TAKEN_AT_ONCE))
    if not popped or #popped == 0 then break end
    for index, record in ipairs(call('HMGET', prefix .. 'jobs', unpack(popped))) do
      local is_taken
      if level then is_taken = starts(prefix, level, popped[index], record)
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

-- Takes jobs of one level from the lines of the partitions, one of each in turn; returns how many it took, how many of
-- them were lost before, and whether it gave up before it had looked at all.
local function take_in_turn(prefix, number, rules, wanted, suspects, jobs, ids)
  local level, found, lost = ({'high', 'normal', 'low'})[number], 0, 0
  local first, last = int(number * 1e12), '(' .. int((number + 1) * 1e12)
  local passed = 0
  for _ = 1, 4 * wanted + LOOKED_AT do
    if found >= wanted or bytes_left <= 0 then return found, lost, false end
    local key = call('ZRANGEBYSCORE', prefix .. 'ring', first, last, 'LIMIT', passed, 1)[1]
    if not key then return found, lost, false end
    local line, starts_key = prefix .. 'line:' .. level .. ':' .. key, prefix .. 'starts:' .. key
    local free, next_at = allowance(starts_key, rules.partition_rates)
    local id = call('LINDEX', line, 0)
    local record = id and call('HGET', prefix .. 'jobs', id)
    local _, losses = read_faults(id and call('HGET', prefix .. 'faults', id))
    if rules.slots and tonumber(call('HGET', prefix .. 'used', key) or 0) >= rules.slots then
      -- Whoever gives a slot back offers the partition again.
      call('ZREM', prefix .. 'ring', key)
    elseif free == 0 then
      call('ZREM', prefix .. 'ring', key)
      call('ZADD', prefix .. 'resting', int(next_at), key)
    elseif losses > 0 and losses < 3 and lost >= suspects and record and not is_finished(record) then
      passed = passed + 1
    else
      if id then call('LPOP', line) end
      if id and starts(prefix, level, id, record) then
        if call('HSET', prefix .. 'slots', id, (rules.is_ordered and 'o' or '-') .. key) == 1 then
          call('HINCRBY', prefix .. 'used', key, 1)
        end
        note_start(starts_key, rules.partition_rates, id)
        if lane(losses) == 'solo' then
          call('RPUSH', prefix .. 'solo', id)
        else
          found, bytes_left, lost = found + 1, bytes_left - #record, lost + (losses > 0 and 1 or 0)
          ids[#ids + 1] = id
          jobs[#jobs + 1] = id
          jobs[#jobs + 1] = record
        end
      end
      offer(prefix, key, true)
      if rules.slots and tonumber(call('HGET', prefix .. 'used', key) or 0) >= rules.slots then
        call('ZREM', prefix .. 'ring', key)
      end
    end
  end
  return found, lost, true
end

-- Lets partitions be served again that have rested; returns when the next one may be.
local function end_rests(prefix)
  for _, key in ipairs(call('ZRANGEBYSCORE', prefix .. 'resting', '-inf', stamp, 'LIMIT', 0, PROMOTED_AT_ONCE)) do
    call('ZREM', prefix .. 'resting', key)
    offer(prefix, key)
  end
  return tonumber(call('ZRANGE', prefix .. 'resting', 0, 0, 'WITHSCORES')[2])
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

local function list_cancelled(prefix, held)
  local found = {}
  for _, id in ipairs(call('SMEMBERS', prefix .. 'cancelling')) do
    if call('HEXISTS', held, id) == 1 then found[#found + 1] = id end
  end
  return found
end

local function claim(prefix, holder, wanted, suspects, first, limits)
  local calls, held = prefix .. 'calls:' .. holder, prefix .. 'held:' .. holder
  if not call('ZSCORE', prefix .. 'leases', holder) then return {0, -1, 0, {}, {}, stamp, {}} end
  local last = call('HGET', calls, 'claim')
  if last and tonumber(last) >= tonumber(first) then
    local cancelled = list_cancelled(prefix, held)
    if last ~= first then return {1, 0, 0, {}, {}, stamp, cancelled} end
    local jobs, faults, time = replay(prefix, held, tonumber(first), wanted)
    return {1, 0, call('LLEN', prefix .. 'solo'), jobs, faults, time, cancelled}
  end

  -- Of queues whose jobs only ever run in turn, nothing else needs to be looked at.
  local is_special = limits ~= '' or call('EXISTS', prefix .. 'control', prefix .. 'levels', prefix .. 'partitions',
    prefix .. 'lines', prefix .. 'resting', prefix .. 'moved', prefix .. 'expiries', prefix .. 'locks',
    prefix .. 'cancelling', prefix .. 'ready:high', prefix .. 'ready:low', prefix .. 'slots') > 0
  -- What is written first is what Redis takes at maxmemory, too.
  if is_special then call('HDEL', held, '') end
  local due, retry = promote(prefix, 'scheduled', is_special), promote(prefix, 'retrying', is_special)
  if retry and (not due or retry < due) then due = retry end

  wanted = math.min(wanted, jobs_left)
  local rules, room, is_full, next_at, cancelled = nil, wanted, false, nil, {}
  if is_special then
    rules = read_rules(prefix, limits)
    room, is_full, next_at = room_to_start(prefix, rules)
    wanted = math.min(wanted, room)
    local rested = end_rests(prefix)
    if rested and (not due or rested < due) then due = rested end
    cancelled = list_cancelled(prefix, held)
  end

  local jobs, ids, faults, solo, left, has_more = {}, {}, {}, 0, 0, false
  -- A suspect that was cancelled has no faults any more, and is still to be taken out of its list.
  local has_faults = call('EXISTS', prefix .. 'faults', prefix .. 'suspects', prefix .. 'solo') > 0
  if wanted > 0 then
    if has_faults and suspects > 0 then
      local count = take(prefix, 'suspects', math.min(suspects, wanted), jobs, ids, is_special and 'suspects')
      wanted, suspects = wanted - count, suspects - count
    end
    if not is_special then
      take(prefix, 'ready', wanted, jobs, ids)
    else
      for number, level in ipairs({'high', 'normal', 'low'}) do
        wanted = wanted - take(prefix, level == 'normal' and 'ready' or 'ready:' .. level, wanted, jobs, ids, level)
        local count, lost, is_unfinished = take_in_turn(prefix, number, rules, wanted, suspects, jobs, ids)
        wanted, suspects, has_more = wanted - count, suspects - lost, has_more or is_unfinished
      end
      for _, id in ipairs(ids) do note_start(prefix .. 'starts', rules.rates, id) end
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
  if has_faults then
    solo, left = call('LLEN', prefix .. 'solo'), call('LLEN', prefix .. 'suspects')
  end
  local ready = call('LLEN', prefix .. 'ready')
  local is_stopped = is_special and room <= #ids
  if is_special then
    local in_ring = call('ZCARD', prefix .. 'ring')
    ready = ready + call('LLEN', prefix .. 'ready:high') + call('LLEN', prefix .. 'ready:low')
    if is_stopped and ready + left + in_ring > 0 then
      if is_full then call('SET', prefix .. 'held_back', '1') end
      next_at = next_at or select(3, room_to_start(prefix, rules))
      if next_at and next_at >= 0 and (not due or next_at < due) then due = next_at end
    end
    local rests = tonumber(call('ZRANGE', prefix .. 'resting', 0, 0, 'WITHSCORES')[2])
    if rests and (not due or rests < due) then due = rests end
    -- Of partitions that nothing could be taken of, although something was wanted, all wait or have lost jobs at their heads.
    if #ids > 0 or wanted == 0 or has_more then ready = ready + in_ring end
  end
  local wait = due and math.max(0, due - now) or -1
  -- Suspects this process may not take would wake it again and again; whoever ends one claims by itself.
  if not is_stopped and (#ids > 0 and left or 0) + ready > 0 then
    wake(prefix)
  elseif left == 0 or is_stopped then
    call('DEL', prefix .. 'wake')
  end
  return {1, wait, solo, jobs, faults, stamp, cancelled}
end

local out, prefixes = {}, queues(KEYS)
expect(#ARGV == 5 * #prefixes + 1, 'five values per queue')
for index = 2, #ARGV, 5 do
  expect(ARGV[index] ~= '' and whole(ARGV[index + 1], 0) and whole(ARGV[index + 2], 0) and whole(ARGV[index + 3], 0), 'a claim')
  expect(not string.find(ARGV[index + 4], '[^%l%d/,;]'), 'limits')
end
for index, prefix in ipairs(prefixes) do
  local base = 5 * index - 3
  out[index] = claim(prefix, ARGV[base], tonumber(ARGV[base + 1]), tonumber(ARGV[base + 2]), ARGV[base + 3], ARGV[base + 4])
end
return out
