-- Cancels a job that waits, and asks the process that runs it to cancel one that runs.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  id
-- ARGV[3]  how long its attempts are kept, in milliseconds
-- ARGV[4]  '1' for a job that may be still to come: then it counts as cancelled before it is there
--
-- Returns  1 cancelled by this call, 2 it runs and is to be cancelled, 0 finished already, -1 unknown
-- Moves    scheduled | retrying | queued -> cancelled

local prefix, id = KEYS[1], ARGV[2]
whole(ARGV[3], 0)
local record = call('HGET', prefix .. 'jobs', id)
if not record then
  if ARGV[4] ~= '1' or tonumber(call('ZSCORE', prefix .. 'remembered', id) or 0) > now then return -1 end
  -- Whoever publishes it later finds that it is there, and cancelled.
  call('HDEL', prefix .. 'faults', id)
  end_cancelled(prefix, id, stamp .. '!', now, 0, 0, ARGV[3])
  return 1
end
if is_finished(record) then return 0 end
local holder = holder_of(prefix, id)
if holder then
  call('SREM', prefix .. 'cancelling', '')
  set_special(prefix)
  call('SADD', prefix .. 'cancelling', id)
  call('RPUSH', prefix .. 'poke:' .. holder, id)
  call('PEXPIRE', prefix .. 'poke:' .. holder, 10000)
  return 2
end

take_out(prefix, id)
local errors, losses = read_faults(call('HGET', prefix .. 'faults', id))
end_cancelled(prefix, id, record, now, errors, losses, ARGV[3])
return 1
