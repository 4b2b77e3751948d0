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
if holder_of(prefix, id) then return 0 end
local orders = {S = 'succeeded', C = 'cancelled'}
if is_finished(record) then
  local order = orders[string.upper(string.sub(record, 1, 1))]
  if order then call('LREM', prefix .. order, 1, id) else call('ZREM', prefix .. 'dead', id) end
else
  take_out(prefix, id)
end
call('HDEL', prefix .. 'jobs', id)
if has_traits(prefix) then
  let_go(prefix, id, false, true)
  if is_finished(record) then call('HDEL', prefix .. 'flows', id) else pass_on(prefix, id, 'C', 'deleted') end
end
call('HDEL', prefix .. 'faults', id)
call('ZREM', prefix .. 'remembered', id)
call('DEL', prefix .. 'history:' .. id, prefix .. 'result:' .. id)
call('HINCRBY', prefix .. 'stats', 'deleted', 1)
announce(prefix, id)
return 1
