-- Tells what holds a queue back, and of which partitions most jobs wait.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  of how many partitions to tell
--
-- Returns  {pause `<since>,<until or ''>,<reason>` or '', until when the queue rests or '', limits that were set or '-',
--          jobs that could run now or wait for their turn, those that run, processes with a lease, partitions with a
--          line, partitions that rest, {key, jobs in its line, jobs that occupy it, until when it rests or '', …}}
-- Moves    nothing

local prefix, count = KEYS[1], whole(ARGV[2], 0)
local is_paused = select(2, stopped_until(prefix))
local control = call('HMGET', prefix .. 'control', 'paused', 'rest', 'limits')
local rests = control[2] and tonumber(control[2]) > now and control[2] or ''
local pools = 0
for _, holder in ipairs(call('ZRANGE', prefix .. 'leases', 0, -1)) do
  if holder ~= '' and tonumber(call('ZSCORE', prefix .. 'leases', holder)) > now then pools = pools + 1 end
end
local partitions = {}
local lines = count > 0 and call('ZREVRANGE', prefix .. 'lines', 0, count - 1, 'WITHSCORES') or {}
for index = 1, #lines, 2 do
  local key = lines[index]
  local until_when = call('ZSCORE', prefix .. 'resting', key)
  partitions[#partitions + 1] = key
  partitions[#partitions + 1] = tonumber(lines[index + 1])
  partitions[#partitions + 1] = tonumber(call('HGET', prefix .. 'used', key) or 0)
  partitions[#partitions + 1] = until_when and tonumber(until_when) > now and int(math.ceil(tonumber(until_when))) or ''
end
return {is_paused and control[1] or '', rests, control[3] or '-', count_queued(prefix), count_running(prefix), pools,
  call('ZCARD', prefix .. 'lines'), call('ZCOUNT', prefix .. 'resting', '(' .. stamp, '+inf'), partitions}
