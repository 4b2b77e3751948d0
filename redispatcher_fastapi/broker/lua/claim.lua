-- Gives a process jobs from several queues, each leased to it under a sequence number of its own.
--
-- KEYS[i]  prefix of a queue
-- ARGV[2…] per queue: holder, jobs wanted, how many of them may be suspects, sequence of the first, limits or '', see
--          `read_rules`
--
-- Returns  per queue: status (1, or 0 when the holder has no lease and must renew first), milliseconds until
--          a waiting job falls due or a limit allows the next one (-1: nothing waits for a time), number of solo jobs,
--          {id, record, …}, {faults, …}, the time of the claim, which with its sequence is the token of each delivery;
--          of a queue whose jobs do not only run in turn also the ids of jobs that the holder runs and somebody has
--          cancelled, and 1 when the queue is paused. An empty list is nil: two empty tables
--          in its reply cost an idle claim 3 % of its instructions.
-- Moves    scheduled | retrying -> queued (when due), queued -> running, queued -> cancelled (expired)
-- Repeated with the same holder and sequence it answers with the same jobs.

local PROMOTED_AT_ONCE, TAKEN_AT_ONCE = 500, 16
local MANY, LONG = 16, string.rep(' ', 65)
-- For all queues of a call together: it must not hold up the server for long, and a reply that takes longer than a
-- client waits for it would be repeated, and never arrive. What is left over wakes a pool again.
local budget = {jobs = 500, bytes = 1048576}

local function promote(prefix, container, special)
  local head = call('ZRANGE', prefix .. container, 0, 0, 'WITHSCORES')
  if not head[2] or tonumber(head[2]) > now then return tonumber(head[2]) end
  local ids = call('ZRANGEBYSCORE', prefix .. container, '-inf', stamp, 'LIMIT', 0, PROMOTED_AT_ONCE)
  local lanes = {}
  if call('EXISTS', prefix .. 'faults') == 1 then
    -- Rare:
    for index, faults in ipairs(call('HMGET', prefix .. 'faults', unpack(ids))) do
      local _, losses = read_faults(faults)
      lanes[index] = lane(losses)
    end
    -- Until here.
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
  local found, bytes, starts = 0, budget.bytes, level and special.starts
  for _ = 1, wanted / TAKEN_AT_ONCE + 10 do
    local popped = bytes > 0 and wanted > found
      and call('LPOP', prefix .. list, math.min(wanted - found, TAKEN_AT_ONCE))
    if not popped or #popped == 0 then break end
    for index, record in ipairs(call('HMGET', prefix .. 'jobs', unpack(popped))) do
      local is_taken
      if starts then is_taken = starts(level, popped[index], record)
      else is_taken = record and not is_finished(record) end
      if is_taken then
        found, bytes = found + 1, bytes - #record
        ids[#ids + 1] = popped[index]
        jobs[#jobs + 1] = popped[index]
        jobs[#jobs + 1] = record
      elseif not starts then
        call('SREM', prefix .. 'ghosts', popped[index])
      end
    end
  end
  budget.bytes = bytes
  return found
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
  if not call('ZSCORE', prefix .. 'leases', holder) then return {0, -1, 0, false, false, stamp} end
  -- Of queues whose jobs only ever run in turn, nothing else needs to be looked at. A suspect that was cancelled has no
  -- faults any more, and is still to be taken out of its list.
  local has_faults = call('EXISTS', prefix .. 'special', prefix .. 'faults', prefix .. 'suspects', prefix .. 'solo') > 0
  local special
  if limits ~= '' or has_faults and call('EXISTS', prefix .. 'special') == 1 then
    -- Rare:
    special = make_special(prefix, held, limits, take, budget)
    -- Until here.
    has_faults = call('EXISTS', prefix .. 'faults', prefix .. 'suspects', prefix .. 'solo') > 0
  end
  local last = call('HGET', calls, 'claim')
  if last and tonumber(last) >= tonumber(first) then
    local cancelled, is_paused = false, false
    if special then cancelled, is_paused = special.list_cancelled(), special.is_paused() end
    if last ~= first then return {1, 0, 0, false, false, stamp, cancelled, is_paused and 1 or 0} end
    local jobs, faults, time = replay(prefix, held, tonumber(first), wanted)
    return {1, 0, call('LLEN', prefix .. 'solo'), jobs, faults, time, cancelled, is_paused and 1 or 0}
  end

  -- What is written first is what Redis takes at maxmemory, too.
  if special then call('HDEL', held, '') end
  local due, retry = promote(prefix, 'scheduled', special), promote(prefix, 'retrying', special)
  if retry and (not due or retry < due) then due = retry end

  wanted = math.min(wanted, budget.jobs)
  local room, is_full, next_at, is_paused = wanted, false, nil, false
  if special then
    room, is_full, next_at, is_paused = special.prepare(has_faults)
    wanted = math.min(wanted, room)
  end
  local jobs, ids, faults, solo, left, has_more, is_stopped = {}, {}, false, 0, 0, false, false
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
    budget.jobs = budget.jobs - #ids
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
  jobs = #ids > 0 and jobs
  if not special then return {1, wait, solo, jobs, faults, stamp} end
  return {1, wait, solo, jobs, faults, stamp, special.list_cancelled(), is_paused and 1 or 0}
end

local out, prefixes = {}, queues(KEYS)
expect(#ARGV == 5 * #prefixes + 1, 'five values per queue')
for index = 2, #ARGV, 5 do
  expect(ARGV[index] ~= '' and whole(ARGV[index + 1], 0) and whole(ARGV[index + 2], 0) and whole(ARGV[index + 3], 0), 'a claim')
  if ARGV[index + 4] ~= '' then
    -- Rare:
    expect(is_limits(ARGV[index + 4]), 'limits')
    -- Until here.
  end
end
for index, prefix in ipairs(prefixes) do
  local base = 5 * index - 3
  out[index] = claim(prefix, ARGV[base], tonumber(ARGV[base + 1]), tonumber(ARGV[base + 2]), ARGV[base + 3], ARGV[base + 4])
end
return out
