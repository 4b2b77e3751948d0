-- Gives an empty process one job that must run alone, or a busy one the turn to empty itself for it.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  holder
-- ARGV[3]  sequence for the delivery
-- ARGV[4]  '1' when the process runs nothing at all
-- ARGV[5]  how long a turn lasts, in milliseconds
-- ARGV[6]  limits or '', see `read_rules`; rates do not hold back a job that must run alone
--
-- Returns  {1, id, record, faults, token} a delivery; {2} the turn; {0} nothing. A turn that has ended, or that
--          somebody has, is not given: whoever could not empty itself in time lets others try.
--          Repeated with the same holder and sequence it answers with the same job, and never with another one.
-- Moves    queued -> running

local prefix, holder, sequence = KEYS[1], ARGV[2], ARGV[3]
local calls, held, turn = prefix .. 'calls:' .. holder, prefix .. 'held:' .. holder, holder .. ',' .. sequence
expect(holder ~= '' and whole(sequence, 0) and whole(ARGV[5], 1) and not string.find(ARGV[6], '[^%l%d/,;]'), 'a claim')
if not call('ZSCORE', prefix .. 'leases', holder) then return {0} end
if ARGV[4] ~= '1' then
  if call('LLEN', prefix .. 'solo') == 0 then return {0} end
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
end_turn(prefix, holder)
local rules = read_rules(prefix, ARGV[6])
if stopped_until(prefix) or rules.running and count_running(prefix) >= rules.running then return {0} end
for _ = 1, 100 do
  local id = call('LPOP', prefix .. 'solo')
  if not id then return {0} end
  local record = call('HGET', prefix .. 'jobs', id)
  if record and not is_finished(record) then
    local token = sequence .. ',' .. stamp .. '*'
    call('HSET', held, id, token)
    note_start(prefix .. 'starts', rules.rates, id)
    call('HSET', calls, 'claim', sequence)
    return {1, id, record, call('HGET', prefix .. 'faults', id) or '', token}
  end
  call('SREM', prefix .. 'ghosts', id)
end
return {0}
