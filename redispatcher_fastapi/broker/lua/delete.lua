-- Removes every trace of a job that is not running.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  id
--
-- Returns  1 deleted by this call, 0 running, -1 unknown
-- Moves    any state but running -> nothing

local prefix, id = KEYS[1], ARGV[2]
local record = call('HGET', prefix .. 'jobs', id)
if not record then return -1 end
for _, holder in ipairs(call('ZRANGE', prefix .. 'leases', 0, -1)) do
  if holder ~= '' and call('HEXISTS', prefix .. 'held:' .. holder, id) == 1 then return 0 end
end
local orders = {S = 'succeeded', C = 'cancelled'}
if is_finished(record) then
  local order = orders[string.upper(string.sub(record, 1, 1))]
  if order then call('LREM', prefix .. order, 1, id) else call('ZREM', prefix .. 'dead', id) end
elseif call('ZREM', prefix .. 'scheduled', id) == 0 and call('ZREM', prefix .. 'retrying', id) == 0 then
  call('SADD', prefix .. 'ghosts', id)
end
call('HDEL', prefix .. 'jobs', id)
call('HDEL', prefix .. 'faults', id)
call('ZREM', prefix .. 'remembered', id)
call('DEL', prefix .. 'history:' .. id, prefix .. 'result:' .. id)
call('HINCRBY', prefix .. 'stats', 'deleted', 1)
announce(prefix, id)
return 1
