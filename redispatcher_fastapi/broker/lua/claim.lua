-- Gives a process jobs from several queues, each leased to it under a sequence number of its own.
--
-- KEYS[i]  prefix of a queue
-- ARGV[2…] per queue: holder, jobs wanted, how many of them may be suspects, sequence of the first
--
-- Returns  per queue: status (1, or 0 when the holder has no lease and must renew first), milliseconds until
--          a waiting job falls due (-1: none waits), number of solo jobs, {id, record, …}, {faults, …} or {},
--          the time of the claim, which with its sequence is the token of each delivery
-- Moves    scheduled | retrying -> queued (when due), queued -> running
-- Repeated with the same holder and sequence it answers with the same jobs.

local PROMOTED_AT_ONCE, TAKEN_AT_ONCE = 500, 16
local MANY, LONG = 16, string.rep(' ', 65)
-- For all queues of a call together: it must not hold up the server for long, and a reply that takes longer than a
-- client waits for it would be repeated, and never arrive. What is left over wakes a pool again.
local jobs_left, bytes_left = 500, 1048576

local function promote(prefix, container)
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
    if (lanes[index] or 'ready') == 'ready' then
      ready[#ready + 1] = id
    else
      call('RPUSH', prefix .. lanes[index], id)
    end
  end
  if #ready > 0 then call('RPUSH', prefix .. 'ready', unpack(ready)) end
  head = call('ZRANGE', prefix .. container, 0, 0, 'WITHSCORES')
  return tonumber(head[2])
end

-- Takes ids off a list and adds those that are still to run; returns how many it added.
local function take(prefix, list, wanted, jobs, ids)
  local found = 0
  for _ = 1, wanted / TAKEN_AT_ONCE + 10 do
    local popped = bytes_left > 0 and wanted > found
      and call('LPOP', prefix .. list, math.min(wanted - found, TAKEN_AT_ONCE))
    if not popped or #popped == 0 then break end
    for index, record in ipairs(call('HMGET', prefix .. 'jobs', unpack(popped))) do
      if record and not is_finished(record) then
        found, bytes_left = found + 1, bytes_left - #record
        ids[#ids + 1] = popped[index]
        jobs[#jobs + 1] = popped[index]
        jobs[#jobs + 1] = record
      else
        call('SREM', prefix .. 'ghosts', popped[index])
      end
    end
  end
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

local function claim(prefix, holder, wanted, suspects, first)
  local calls, held = prefix .. 'calls:' .. holder, prefix .. 'held:' .. holder
  if not call('ZSCORE', prefix .. 'leases', holder) then return {0, -1, 0, {}, {}, stamp} end
  local last = call('HGET', calls, 'claim')
  if last and tonumber(last) >= tonumber(first) then
    if last ~= first then return {1, 0, 0, {}, {}, stamp} end
    local jobs, faults, time = replay(prefix, held, tonumber(first), wanted)
    return {1, 0, call('LLEN', prefix .. 'solo'), jobs, faults, time}
  end

  local due, retry = promote(prefix, 'scheduled'), promote(prefix, 'retrying')
  if retry and (not due or retry < due) then due = retry end
  local wait = due and math.max(0, due - now) or -1

  local jobs, ids, faults, solo, left = {}, {}, {}, 0, 0
  -- A suspect that was cancelled has no faults any more, and is still to be taken out of its list.
  local has_faults = call('EXISTS', prefix .. 'faults', prefix .. 'suspects', prefix .. 'solo') > 0
  wanted = math.min(wanted, jobs_left)
  if wanted > 0 then
    if has_faults and suspects > 0 then
      wanted = wanted - take(prefix, 'suspects', math.min(suspects, wanted), jobs, ids)
    end
    take(prefix, 'ready', wanted, jobs, ids)
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
  -- Suspects this process may not take would wake it again and again; whoever ends one claims by itself.
  if (#ids > 0 and left or 0) + call('LLEN', prefix .. 'ready') > 0 then
    wake(prefix)
  elseif left == 0 then
    call('DEL', prefix .. 'wake')
  end
  return {1, wait, solo, jobs, faults, stamp}
end

local out, prefixes = {}, queues(KEYS)
expect(#ARGV == 4 * #prefixes + 1, 'four values per queue')
for index = 2, #ARGV, 4 do
  expect(ARGV[index] ~= '' and whole(ARGV[index + 1], 0) and whole(ARGV[index + 2], 0) and whole(ARGV[index + 3], 0), 'a claim')
end
for index, prefix in ipairs(prefixes) do
  local base = 4 * index - 2
  out[index] = claim(prefix, ARGV[base], tonumber(ARGV[base + 1]), tonumber(ARGV[base + 2]), ARGV[base + 3])
end
return out
