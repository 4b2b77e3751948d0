-- Takes back what lost processes held and forgets what has been kept long enough; a bounded piece per call.
--
-- KEYS[i]  prefix of a queue
-- ARGV[2]  length of a lease in milliseconds
-- ARGV[3]  how many finished jobs are kept     ARGV[4]  for how long at most, in milliseconds
-- ARGV[5]  for how long at least               ARGV[6]  how long a chosen id is remembered
-- ARGV[7]  how many dead jobs are kept         ARGV[8]  for how long
-- ARGV[9]  how many chosen ids are remembered
--
-- Returns  per queue: milliseconds until the next lease ends (-1: none runs), {id, losses, place, …} of the jobs
--          taken back ('suspects', 'solo', 'dead' or 'cancelled' is the place), 1 when there may be more to forget,
--          '<time>,<leases>,<gap>' of the last time that leases began anew or '', see `observe`, the time now, and 1 when ends of jobs are to be passed on
-- Moves    running -> queued | dead | cancelled, scheduled | queued -> cancelled (expired)

local FORGOTTEN_AT_ONCE, IDS_AT_ONCE, MENDED_AT_ONCE, SOLO_LOSSES, LOSSES = 100, 1000, 20, 2, 9
local lease, id_count = whole(ARGV[2], 1), whole(ARGV[9], 0)
local finished_count, finished_age, finished_min = whole(ARGV[3], 0), whole(ARGV[4], 0), whole(ARGV[5], 0)
local memory, dead_count, dead_age = whole(ARGV[6], 0), whole(ARGV[7], 0), whole(ARGV[8], 0)

local function take_back(prefix, holder, report)
  local held = prefix .. 'held:' .. holder
  local deliveries = call('HGETALL', held)
  call('DEL', held)
  call('ZREM', prefix .. 'leases', holder)
  for index = 1, #deliveries, 2 do
    local id = deliveries[index]
    local started, is_alone = started_of(deliveries[index + 1]), string.byte(deliveries[index + 1], -1) == 42
    local record = call('HGET', prefix .. 'jobs', id)
    if record and not is_finished(record) then
      local errors, losses, solo = read_faults(call('HGET', prefix .. 'faults', id))
      losses, solo = losses + 1, solo + (is_alone and 1 or 0)
      add_attempt(prefix, id, int(started) .. ',' .. stamp .. ',{"outcome":"lost"}')
      local is_cancelled = call('SISMEMBER', prefix .. 'cancelling', id) == 1
      local is_dead = not is_cancelled and (solo >= SOLO_LOSSES or losses >= LOSSES)
      local is_partitioned = call('HEXISTS', prefix .. 'partitions', id) == 1
      if is_cancelled then
        end_cancelled(prefix, id, record, started, errors, losses, ARGV[4])
      elseif is_dead then
        bury(prefix, id, record, started, errors, losses, 'worker_lost', ARGV[8])
        call('HINCRBY', prefix .. 'stats', 'died', 1)
      else
        call('HSET', prefix .. 'faults', id, int(errors) .. ',' .. int(losses) .. ',' .. int(solo))
        if is_partitioned then
          free_slot(prefix, id)
          queue_up(prefix, id, true)
        else
          call('RPUSH', prefix .. lane(losses), id)
        end
      end
      report[#report + 1] = id
      report[#report + 1] = losses
      report[#report + 1] = is_cancelled and 'cancelled' or is_dead and 'dead' or lane(losses)
    else
      local key = free_slot(prefix, id)
      if key then offer(prefix, key) end
    end
  end
  call('HSET', prefix .. 'calls:' .. holder, 'given_up', '1')
  call('PEXPIRE', prefix .. 'calls:' .. holder, math.max(20 * lease, 600000))
  if #report > 0 then
    call('HINCRBY', prefix .. 'stats', 'lost', #report / 3)
    call('DEL', prefix .. 'held_back')
    wake(prefix)
  end
end

-- Forgets up to `count` of the longest dead that died before `latest`, and long enough ago to no longer matter to
-- a repeated publish; tells whether there may be more.
local function forget_dead(prefix, latest, count)
  local budget = math.min(count, FORGOTTEN_AT_ONCE)
  if budget <= 0 then return false end
  latest = math.min(latest, now - finished_min)
  local ids = call('ZRANGEBYSCORE', prefix .. 'dead', '-inf', '(' .. int(latest), 'LIMIT', 0, budget)
  if #ids == 0 then return false end
  local records = call('HMGET', prefix .. 'jobs', unpack(ids))
  call('ZREM', prefix .. 'dead', unpack(ids))
  for index, id in ipairs(ids) do
    if records[index] and is_finished(records[index]) then
      call('HDEL', prefix .. 'jobs', id)
      call('HDEL', prefix .. 'levels', id)
      call('HDEL', prefix .. 'partitions', id)
      call('HDEL', prefix .. 'flows', id)
      call('DEL', prefix .. 'history:' .. id)
      remember(prefix, id, records[index], memory)
    end
  end
  return #ids == FORGOTTEN_AT_ONCE
end

-- Forgets up to `count` of the remembered ids that end first, until `latest`; tells whether there may be more.
local function forget_ids(prefix, latest, count)
  local budget = math.min(count, IDS_AT_ONCE)
  if budget <= 0 then return false end
  local ids = call('ZRANGEBYSCORE', prefix .. 'remembered', '-inf', latest, 'LIMIT', 0, budget)
  if #ids > 0 then call('ZREM', prefix .. 'remembered', unpack(ids)) end
  return #ids == IDS_AT_ONCE
end

-- Ends the windows in which a job was to be the only one; tells whether there may be more.
local function end_windows(prefix)
  local locks = call('ZRANGEBYSCORE', prefix .. 'windows', '-inf', stamp, 'LIMIT', 0, IDS_AT_ONCE)
  if #locks > 0 then
    call('HDEL', prefix .. 'uniques', unpack(locks))
    call('ZREM', prefix .. 'windows', unpack(locks))
  end
  return #locks == IDS_AT_ONCE
end

-- Ends jobs that have expired while they waited; tells whether there may be more.
local function expire(prefix)
  local ids = call('ZRANGEBYSCORE', prefix .. 'expiries', '-inf', stamp, 'LIMIT', 0, FORGOTTEN_AT_ONCE)
  for _, id in ipairs(ids) do
    local record = call('HGET', prefix .. 'jobs', id)
    call('ZREM', prefix .. 'expiries', id)
    if record and not is_finished(record) and not holder_of(prefix, id) then
      take_out(prefix, id)
      end_cancelled(prefix, id, record, now, 0, 0, ARGV[4], 'expired')
    end
  end
  return #ids == FORGOTTEN_AT_ONCE
end

-- Lets go of what jobs have that are finished: a release that knows of none of it may have run them. As there are seldom
-- any such, it looks at a few jobs each time, at random.
local function mend(prefix)
  for _, name in ipairs({'slots', 'locks', 'partitions', 'levels', 'flows', 'cancelling'}) do
    -- Of a key that is not there fakeredis returns nil.
    local ids = name == 'cancelling' and call('SRANDMEMBER', prefix .. name, MENDED_AT_ONCE)
      or name ~= 'cancelling' and call('HRANDFIELD', prefix .. name, MENDED_AT_ONCE) or {}
    local records = #ids > 0 and call('HMGET', prefix .. 'jobs', unpack(ids)) or {}
    for index, id in ipairs(ids) do
      local record = records[index]
      local letter = record and string.upper(string.sub(record, 1, 1))
      local may_keep = letter == 'D' and (name == 'partitions' or name == 'levels' or name == 'flows')
      if not may_keep and (not record or is_finished(record)) then
        let_go(prefix, id, letter == 'D')
        if letter == 'S' then
          pass_on(prefix, id, letter, call('GET', prefix .. 'result:' .. id) or '')
        elseif letter ~= 'D' then
          pass_on(prefix, id, 'C', '')
        end
      end
    end
  end
end

local out = {}
for index, prefix in ipairs(queues(KEYS)) do
  observe(prefix, lease)
  local report, taken = {}, 0
  for _, holder in ipairs(call('ZRANGEBYSCORE', prefix .. 'leases', '-inf', stamp, 'LIMIT', 0, 3)) do
    if holder ~= '' and taken < 1 then
      take_back(prefix, holder, report)
      taken = taken + 1
    end
  end
  local has_more = trim(prefix, 'succeeded', FORGOTTEN_AT_ONCE, finished_count, finished_age, finished_min, memory)
  has_more = trim(prefix, 'cancelled', FORGOTTEN_AT_ONCE, finished_count, finished_age, finished_min, memory) or has_more
  has_more = forget_dead(prefix, now - dead_age, FORGOTTEN_AT_ONCE) or has_more
  has_more = forget_dead(prefix, now, call('ZCARD', prefix .. 'dead') - dead_count) or has_more
  has_more = forget_ids(prefix, stamp, IDS_AT_ONCE) or has_more
  has_more = forget_ids(prefix, '+inf', call('ZCARD', prefix .. 'remembered') - id_count) or has_more

  has_more = expire(prefix) or has_more
  has_more = end_windows(prefix) or has_more
  if has_traits(prefix) then mend(prefix) end
  if has_traits(prefix) and call('EXISTS', prefix .. 'control', prefix .. 'levels', prefix .. 'partitions', prefix .. 'lines',
    prefix .. 'slots', prefix .. 'resting', prefix .. 'moved', prefix .. 'expiries', prefix .. 'locks', prefix .. 'cancelling',
    prefix .. 'ready:high', prefix .. 'ready:low', prefix .. 'held_back', prefix .. 'flows') == 0 then
    call('DEL', prefix .. 'special')
  end

  local next_end = -1
  local leases = call('ZRANGE', prefix .. 'leases', 0, 1, 'WITHSCORES')
  for at = 1, #leases, 2 do
    if leases[at] ~= '' then next_end = math.max(0, tonumber(leases[at + 1]) - now) end
  end
  out[index] = {next_end, report, has_more and 1 or 0, call('GET', prefix .. 'grace') or '', stamp,
    call('EXISTS', prefix .. 'onward')}
end
return out
