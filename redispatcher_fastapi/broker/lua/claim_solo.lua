-- Gives an empty process one job that must run alone, or a busy one the turn to empty itself for it.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  holder
-- ARGV[3]  sequence for the delivery
-- ARGV[4]  '1' when the process runs nothing at all
-- ARGV[5]  how long a turn lasts, in milliseconds
-- ARGV[6]  limits or '', see `read_rules`; where they leave no room now, the turn keeps the next place for this job
--
-- Returns  {1, id, record, faults, token} a delivery; {2} the turn; {0} nothing. A turn that has ended, or that
--          somebody has, is not given: whoever could not empty itself in time lets others try.
--          Repeated with the same holder and sequence it answers with the same job, and never with another one.
-- Moves    queued -> running

local prefix, holder, sequence = KEYS[1], ARGV[2], ARGV[3]
local calls, held, turn = prefix .. 'calls:' .. holder, prefix .. 'held:' .. holder, holder .. ',' .. sequence
expect(holder ~= '' and whole(sequence, 0) and whole(ARGV[5], 1) and is_limits(ARGV[6]), 'a claim')
if not call('ZSCORE', prefix .. 'leases', holder) then return {0} end
if ARGV[4] ~= '1' then
  if call('LLEN', prefix .. 'solo') == 0 or stopped_until(prefix) then return {0} end
  call('HDEL', held, '')
  local is_given = call('SET', prefix .. 'turn', turn, 'NX', 'PX', ARGV[5])
  return {(is_given or call('GET', prefix .. 'turn') == turn) and 2 or 0}
end

local last = call('HGET', calls, 'claim')
if last and tonumber(last) >= tonumber(sequence) then
  -- Repeated, maybe long after its job was settled: nobody would learn of another one.
  for _, id in ipairs(last == sequence and call('HKEYS', held) or {}) do
    local token = call('HGET', held, id)
    if string.match(token, '^%d+') == sequence then
      return {1, id, call('HGET', prefix .. 'jobs', id) or '', call('HGET', prefix .. 'faults', id) or '', token}
    end
  end
  return {0}
end
local waiting = call('LLEN', prefix .. 'solo')
if waiting == 0 or stopped_until(prefix) then
  end_turn(prefix, holder)
  return {0}
end
call('HDEL', held, '')
local rules = read_rules(prefix, ARGV[6])
if rules.running and count_running(prefix) >= rules.running or allowance(prefix .. 'starts', rules.rates) == 0 then
  call('SET', prefix .. 'turn', turn, 'NX', 'PX', ARGV[5])
  return {0}
end
end_turn(prefix, holder)
for _ = 1, math.min(waiting, 100) do
  local id = call('LPOP', prefix .. 'solo')
  local record, key = call('HGET', prefix .. 'jobs', id), call('HGET', prefix .. 'partitions', id)
  if not record or is_finished(record) then
    call('SREM', prefix .. 'ghosts', id)
  elseif key and allowance(prefix .. 'starts:' .. key, rules.partition_rates) == 0 then
    call('RPUSH', prefix .. 'solo', id)
  else
    local token = sequence .. ',' .. stamp .. '*'
    call('HSET', held, id, token)
    note_starts(prefix .. 'starts', rules.rates, {id})
    if key then note_starts(prefix .. 'starts:' .. key, rules.partition_rates, {id}) end
    call('HSET', calls, 'claim', sequence)
    return {1, id, record, call('HGET', prefix .. 'faults', id) or '', token}
  end
end
let_others_on(prefix)
return {0}
