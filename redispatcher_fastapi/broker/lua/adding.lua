-- Stands behind the prelude: adds jobs that ask for more than to run in turn.
--
-- KEYS[i]  see the prelude

-- The time, in milliseconds, that `d<milliseconds>` from now or `a<milliseconds>` of the epoch mean.
local function time_of(text)
  return whole(string.sub(text, 2), -1e15) + (string.sub(text, 1, 1) == 'd' and now or 0)
end

-- Refuses the ten values of a job, see `add_job`, while nothing is written yet.
local function check_job(values, at)
  expect(values[at] ~= '', 'a job without an id')
  if values[at + 2] ~= '' then time_of(values[at + 2]) end
  expect(values[at + 4] == '' or values[at + 4] == 'high' or values[at + 4] == 'low', 'a level')
  if values[at + 6] ~= '' then time_of(values[at + 6]) end
  local unique = values[at + 7]
  expect(unique == '' or (string.find(unique, '^[wd]:[krpx]$') or string.find(unique, '^t%d+:[krpx]$')) and values[at + 8] ~= '',
    'a lock')
  if string.byte(unique) == 116 then whole(string.match(unique, '%d+'), 1) end
end

-- The job that has a lock, unless it has it no more: a lock for a time ends, and so does a job that has expired without
-- anybody having noticed yet, or was finished by a release that knows of no locks.
local function owner_of(prefix, lock)
  local other = call('HGET', prefix .. 'uniques', lock)
  local ends = other and call('ZSCORE', prefix .. 'windows', lock)
  if not other or ends and tonumber(ends) <= now then return nil end
  local record = call('HGET', prefix .. 'jobs', other)
  if not record or is_finished(record) then return ends and other or nil end
  local expires = call('ZSCORE', prefix .. 'expiries', other)
  if not expires or tonumber(expires) > now or holder_of(prefix, other) then return other end
  take_out(prefix, other)
  end_cancelled(prefix, other, record, now, 0, 0, 0, 'expired')
  return nil
end

-- Does what is asked for where a job is not unique; returns the answer. A job that failed or was lost keeps its time,
-- that of its next attempt.
local function meet(prefix, other, action, envelope, due, expiry)
  if action == 'x' then return 'x' end
  local record = action ~= 'k' and call('HGET', prefix .. 'jobs', other)
  if not record or is_finished(record) or holder_of(prefix, other) then return 'u' end
  local head = string.match(record, '^%d%d%d%d%d%d%d%d%d%d%d%d%d!?') or stamp
  call('HSET', prefix .. 'jobs', other, head .. envelope)
  if call('ZREM', prefix .. 'expiries', other) == 1 and expiry ~= '' then
    call('ZADD', prefix .. 'expiries', int(time_of(expiry)), other)
  end
  if action == 'r' or call('HEXISTS', prefix .. 'faults', other) == 1 then return 'r' end
  if call('ZREM', prefix .. 'scheduled', other) == 1 then
    put_off(prefix, 'scheduled', other, math.max(due, now))
  elseif due > now then
    void_entry(prefix, other, call('HGET', prefix .. 'levels', other) or 'normal')
    put_off(prefix, 'scheduled', other, due)
  end
  return 'p'
end

-- Adds a job from ten values: id, envelope, due ('' now, 'd<ms>' after a delay, 'a<ms>' at a time), '1' for a chosen id,
-- level ('' for normal, 'high', 'low'), partition or '', when it expires (as due, '' never), lock or '':
-- '<scope>:<action>' with scope 'w' while it waits, 'd' until it is done, 't<ms>' for a time, and what becomes of the job
-- that has the lock: 'k' kept, 'r' its message is replaced, 'p' so is its time, 'x' nothing, an error; key of the lock,
-- and what follows the job or ''.
-- Returns '1' created, '0' known already, 'f' no room, else the letter of the action ('u' for kept) and the other job.
local function add_job(prefix, values, at, room)
  local id, envelope, is_chosen = values[at], values[at + 1], values[at + 3] == '1'
  local due = values[at + 2] ~= '' and time_of(values[at + 2]) or now
  local expiry, unique, lock = values[at + 6], values[at + 7], values[at + 8]
  if call('HEXISTS', prefix .. 'jobs', id) == 1 then return '0' end
  if is_chosen and tonumber(call('ZSCORE', prefix .. 'remembered', id) or 0) > now then return '0' end
  if unique ~= '' then
    local other = owner_of(prefix, lock)
    if other then return meet(prefix, other, string.sub(unique, -1), envelope, due, expiry), other end
  end
  if room <= 0 then return 'f' end

  call('HSET', prefix .. 'jobs', id, (is_chosen and stamp .. '!' or stamp) .. envelope)
  -- What an earlier job of this id left behind can outlive the memory of it.
  if is_chosen then call('DEL', prefix .. 'result:' .. id, prefix .. 'history:' .. id) end
  if values[at + 4] .. values[at + 5] .. expiry .. unique .. values[at + 9] ~= '' then set_special(prefix) end
  forget_places(prefix, id, values[at + 5] ~= '' and values[at + 5])
  if values[at + 4] ~= '' then call('HSET', prefix .. 'levels', id, values[at + 4]) end
  if values[at + 5] ~= '' then call('HSET', prefix .. 'partitions', id, values[at + 5]) end
  if expiry ~= '' then call('ZADD', prefix .. 'expiries', int(time_of(expiry)), id) end
  if unique ~= '' then
    call('HSET', prefix .. 'uniques', lock, id)
    call('HSET', prefix .. 'locks', id, string.sub(unique, 1, 1) .. lock)
    local window = string.match(unique, '^t(%d+)')
    if window then
      call('ZADD', prefix .. 'windows', int(now + tonumber(window)), lock)
    else
      call('ZREM', prefix .. 'windows', lock)
    end
  end
  if values[at + 9] ~= '' then call('HSET', prefix .. 'flows', id, values[at + 9]) end
  if due > now then
    put_off(prefix, 'scheduled', id, due)
  else
    queue_up(prefix, id)
    wake(prefix)
  end
  call('HINCRBY', prefix .. 'stats', 'published', 1)
  return '1'
end
