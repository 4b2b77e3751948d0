-- Answers with how a job ended, or has its end announced on the `finished` channel.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  id
-- ARGV[3]  '1' to wait for a job, too, that is still to come
-- ARGV[4]  '1' for one that others follow: its result is not asked for, and what is to be passed on has not ended
--
-- Returns  {'succeeded'} or {'succeeded', result}; {'expired'} when the result or the record is gone;
--          {'dead', reason, last failure or ''}; {'cancelled', '' or 'expired'}; {'waiting'}
-- Moves    nothing

local prefix, id = KEYS[1], ARGV[2]
local record = call('HGET', prefix .. 'jobs', id)
local is_followed = ARGV[4] == '1'

local function is_awaited()
  if record then return not is_finished(record) end
  -- Those of its group that have ended are there, and it is to come.
  if call('EXISTS', prefix .. 'joins:' .. id) == 1 then return true end
  if is_followed and call('HEXISTS', prefix .. 'onward', id) == 1 then return true end
  if ARGV[3] ~= '1' or tonumber(call('ZSCORE', prefix .. 'remembered', id) or 0) > now then return false end
  return is_followed or call('EXISTS', prefix .. 'result:' .. id) == 0
end

if is_awaited() then
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
if record and (is_followed or not string.find(record, ',r$')) then return {'succeeded'} end
if is_followed then return {'expired'} end
-- A result can outlive the record of its job.
local result = call('GET', prefix .. 'result:' .. id)
if result then return {'succeeded', result} end
return {'expired'}
