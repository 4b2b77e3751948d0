-- Tells why a job does not run, the first of the reasons that hold.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  id
-- ARGV[3]  limits of the caller's code or '', see `read_rules`; without them it can only be told that there are some
--
-- Returns  {} of an unknown job, or {reason, until when or '', what it is about or ''}:
--          'finished' with its state or 'expired', 'running', 'scheduled', 'retrying', 'paused' with the reason, 'no_pool',
--          'isolated', 'rate_limited' with 'queue' or 'partition', 'ordered' with the job before it, 'limited' with 'queue'
--          or 'partition', 'behind'
-- Moves    nothing

local prefix, id = KEYS[1], ARGV[2]
expect(is_limits(ARGV[3]), 'limits')
local record = call('HGET', prefix .. 'jobs', id)
if not record then return {} end
if is_finished(record) then
  local states = {S = 'succeeded', C = 'cancelled', D = 'dead'}
  local state = states[string.upper(string.sub(record, 1, 1))]
  if state == 'cancelled' and string.find(record, ',expired$') then state = 'expired' end
  return {'finished', '', state}
end
if holder_of(prefix, id) then return {'running', '', ''} end
for _, state in ipairs({'scheduled', 'retrying'}) do
  local due = call('ZSCORE', prefix .. state, id)
  if due and tonumber(due) > now then return {state, int(tonumber(due)), ''} end
end

local ends, is_paused = stopped_until(prefix)
if is_paused then
  local reason = string.match(call('HGET', prefix .. 'control', 'paused') or '', '^%d+,%d*,(.*)$')
  return {'paused', ends >= 0 and int(ends) or '', reason or ''}
end
if ends then return {'rate_limited', int(ends), 'queue'} end
local rules, key = read_rules(prefix, ARGV[3]), call('HGET', prefix .. 'partitions', id)
local rests = key and tonumber(call('ZSCORE', prefix .. 'resting', key) or 0) or 0
if rests > now then return {'rate_limited', int(math.ceil(rests)), 'partition'} end

local has_pool = false
for _, holder in ipairs(call('ZRANGE', prefix .. 'leases', 0, -1)) do
  if holder ~= '' and tonumber(call('ZSCORE', prefix .. 'leases', holder)) > now then has_pool = true end
end
if not has_pool then return {'no_pool', '', ''} end
local _, losses = read_faults(call('HGET', prefix .. 'faults', id))
if losses >= 3 then return {'isolated', '', ''} end

if key then
  local free, next_at = allowance(prefix .. 'starts:' .. key, rules.partition_rates)
  local used = tonumber(call('HGET', prefix .. 'used', key) or 0)
  -- Without rules: it has a line, and no place among those that may be served.
  if rules.slots and used >= rules.slots or used > 0 and not call('ZSCORE', prefix .. 'ring', key) then
    local slots = call('HLEN', prefix .. 'slots') <= 10000 and call('HGETALL', prefix .. 'slots') or {}
    for index = 1, #slots, 2 do
      if slots[index + 1] == 'o' .. key then return {'ordered', '', slots[index]} end
    end
    return {rules.is_ordered and 'ordered' or 'limited', '', rules.is_ordered and '' or 'partition'}
  end
  if free == 0 then return {'rate_limited', int(next_at), 'partition'} end
end
local room, _, next_at = room_to_start(prefix, rules)
if room <= 0 and next_at then return {'rate_limited', int(next_at), 'queue'} end
if room <= 0 or not rules.running and call('EXISTS', prefix .. 'held_back') == 1 then return {'limited', '', 'queue'} end
return {'behind', '', ''}
