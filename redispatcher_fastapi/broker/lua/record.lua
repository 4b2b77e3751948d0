-- Tells everything about some jobs.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  '1' to include the history of attempts
-- ARGV[3…] ids
--
-- Returns  per job: {} when unknown, else {state, record, faults, due or '', delivery or '', {attempt, …}, level,
--          partition or '', expiry or '', '1' when it runs and is to be cancelled or ''}
-- Moves    nothing

local prefix, with_history = KEYS[1], ARGV[2] == '1'
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
  if record then
    local state, due, delivery = place(id, record)
    local faults = call('HGET', prefix .. 'faults', id) or ''
    local history = with_history and call('LRANGE', prefix .. 'history:' .. id, 0, -1) or {}
    local expiry = call('ZSCORE', prefix .. 'expiries', id)
    out[index - 2] = {state, record, faults, due, delivery, history, call('HGET', prefix .. 'levels', id) or 'normal',
      call('HGET', prefix .. 'partitions', id) or '', expiry and int(tonumber(expiry)) or '',
      call('SISMEMBER', prefix .. 'cancelling', id) == 1 and '1' or ''}
  else
    out[index - 2] = {}
  end
end
return out
