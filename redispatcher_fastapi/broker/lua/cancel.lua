-- Cancels a job that waits.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  id
-- ARGV[3]  how long its attempts are kept, in milliseconds
--
-- Returns  1 cancelled by this call, 0 running or finished already, -1 unknown
-- Moves    scheduled | retrying | queued -> cancelled

local prefix, id = KEYS[1], ARGV[2]
whole(ARGV[3], 0)
local record = call('HGET', prefix .. 'jobs', id)
if not record then return -1 end
if is_finished(record) then return 0 end
for _, holder in ipairs(call('ZRANGE', prefix .. 'leases', 0, -1)) do
  if holder ~= '' and call('HEXISTS', prefix .. 'held:' .. holder, id) == 1 then return 0 end
end

if call('ZREM', prefix .. 'scheduled', id) == 0 and call('ZREM', prefix .. 'retrying', id) == 0 then
  -- Searching a list of a million would stall the server: the id stays where it is and is passed over.
  call('SADD', prefix .. 'ghosts', id)
end
local errors, losses = read_faults(call('HGET', prefix .. 'faults', id))
call('HSET', prefix .. 'jobs', id, finished_record('C', record, now, errors, losses))
call('HDEL', prefix .. 'faults', id)
call('RPUSH', prefix .. 'cancelled', id)
call('PEXPIRE', prefix .. 'history:' .. id, ARGV[3])
call('HINCRBY', prefix .. 'stats', 'cancelled', 1)
announce(prefix, id)
return 1
