-- Changes the level of a job that waits; it goes behind all others of that level.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  id
-- ARGV[3]  level: 'high', 'normal' or 'low'
--
-- Returns  1 the job has that level now, 0 it runs or is finished, -1 unknown
-- Moves    nothing

local prefix, id, level = KEYS[1], ARGV[2], ARGV[3]
expect(level == 'high' or level == 'normal' or level == 'low', 'a level')
local record = call('HGET', prefix .. 'jobs', id)
if not record then return -1 end
if is_finished(record) or holder_of(prefix, id) then return 0 end
local before = call('HGET', prefix .. 'levels', id) or 'normal'
if before == level then return 1 end
call('SREM', prefix .. 'moved', '')
set_special(prefix)
local is_due = not call('ZSCORE', prefix .. 'scheduled', id) and not call('ZSCORE', prefix .. 'retrying', id)
-- One that was lost with its process waits elsewhere, or at the head of its line, and will have the level when it is next queued.
local _, losses = read_faults(call('HGET', prefix .. 'faults', id))
if is_due and losses == 0 then void_entry(prefix, id, before) end
if level == 'normal' then
  call('HDEL', prefix .. 'levels', id)
else
  call('HSET', prefix .. 'levels', id, level)
end
if is_due and losses == 0 then
  queue_up(prefix, id)
  local key = call('HGET', prefix .. 'partitions', id)
  if key then offer(prefix, key) end
  wake(prefix)
end
return 1
