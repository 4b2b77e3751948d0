-- Tells everything about some jobs.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  '1' for everything, '' for the state alone
-- ARGV[3…] ids
--
-- Returns  per job: {} when unknown, {''} when nothing but its state is asked for, and its id is all that is remembered; else
--          {state[, record, faults, due or '', delivery or '', {attempt, …}, level,
--          partition or '', expiry or '', '1' when it runs and is to be cancelled or '', '1' when others follow it or '']}
-- Moves    nothing

local prefix, is_whole = KEYS[1], ARGV[2] == '1'
local states = {S = 'succeeded', C = 'cancelled', D = 'dead'}
local holders = call('ZRANGE', prefix .. 'leases', 0, -1)

local function place(id, record)
  if is_finished(record) then return states[string.upper(string.sub(record, 1, 1))], '', '' end
  for _, name in ipairs({'scheduled', 'retrying'}) do
    local due = call('ZSCORE', prefix .. name, id)
    if due then return name, int(tonumber(due)), '' end
  end
  for _, holder in ipairs(holders) do
    local delivery = holder ~= '' and call('HGET', prefix .. 'held:' .. holder, id)
    if delivery then return 'running', '', delivery end
  end
  return 'queued', '', ''
end

local out = {}
for index = 3, #ARGV do
  local id = ARGV[index]
  local record = call('HGET', prefix .. 'jobs', id)
  if not record then
    local is_remembered = not is_whole and tonumber(call('ZSCORE', prefix .. 'remembered', id) or 0) > now
    out[index - 2] = is_remembered and {''} or {}
  elseif not is_whole then
    out[index - 2] = {(place(id, record))}
  else
    local state, due, delivery = place(id, record)
    local faults = call('HGET', prefix .. 'faults', id) or ''
    local history = call('LRANGE', prefix .. 'history:' .. id, 0, -1)
    local expiry = call('ZSCORE', prefix .. 'expiries', id)
    out[index - 2] = {state, record, faults, due, delivery, history, call('HGET', prefix .. 'levels', id) or 'normal',
      call('HGET', prefix .. 'partitions', id) or '', expiry and int(tonumber(expiry)) or '',
      call('SISMEMBER', prefix .. 'cancelling', id) == 1 and '1' or '', call('HEXISTS', prefix .. 'flows', id) == 1 and '1' or ''}
  end
end
return out
