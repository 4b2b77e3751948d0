-- Answers with how a job ended, or has its end announced on the `finished` channel.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  id
-- ARGV[3]  '1' to wait for a job, too, that is still to come
--
-- Returns  {'succeeded'} or {'succeeded', result}; {'expired'} when the result or the record is gone;
--          {'dead', reason, last failure or ''}; {'cancelled', '' or 'expired'}; {'waiting'}
-- Moves    nothing

local prefix, id = KEYS[1], ARGV[2]
local record = call('HGET', prefix .. 'jobs', id)
local is_to_come = ARGV[3] == '1' and not record and not call('ZSCORE', prefix .. 'remembered', id)
  and call('EXISTS', prefix .. 'result:' .. id) == 0
if is_to_come or record and not is_finished(record) then
  call('SREM', prefix .. 'watched', '')
  call('SADD', prefix .. 'watched', id)
  call('PEXPIRE', prefix .. 'watched', 60000)
  return {'waiting'}
end
local letter = record and string.upper(string.sub(record, 1, 1))
if letter == 'C' then return {'cancelled', string.match(record, ',(%l+)$') or ''} end
if letter == 'D' then
  local reason = string.match(record, '^%a%d+,%-?%d+,%-?%d+,%d+,%d+,([^\n]*)\n')
  return {'dead', reason or '', call('LINDEX', prefix .. 'history:' .. id, -1) or ''}
end
if record and not string.find(record, ',r$') then return {'succeeded'} end
-- A result can outlive the record of its job.
local result = call('GET', prefix .. 'result:' .. id)
if result then return {'succeeded', result} end
return {'expired'}
