-- Stands behind the prelude: what keeps jobs that could run from starting.
--
-- KEYS[i]  see the prelude

-- Reads limits: `c<n>` how many jobs of the queue run at once, `k<n>` of each partition, `o` in each one by one and in
-- order, `r<n>/<ms>[,…]` how many start within a time, `s<n>/<ms>[,…]` of each partition. Those that an operator set
-- win over those of the caller's code.
local function read_rules(prefix, text)
  local rules = {rates = {}, partition_rates = {}}
  for kind, value in string.gmatch(call('HGET', prefix .. 'control', 'limits') or text, '(%l)([%d/,]*)') do
    if kind == 'c' then rules.running = tonumber(value) end
    if kind == 'k' then rules.slots = tonumber(value) end
    if kind == 'o' then rules.slots, rules.is_ordered = 1, true end
    for count, span in string.gmatch(value, '(%d+)/(%d+)') do
      local rates = kind == 'r' and rules.rates or rules.partition_rates
      rates[#rates + 1] = {count = tonumber(count), span = tonumber(span)}
    end
  end
  return rules
end

-- Whether a text can be read as limits; no number in it is too large for any command.
local function is_limits(text)
  return not string.find(text, '[^%l%d/,;]') and not string.find(text, string.rep('%d', 16))
end

-- How many may start now by some rates, and when the next one may.
local function allowance(starts, rates)
  local free, next_at = 1e9, now
  for _, rate in ipairs(rates) do
    local left = rate.count - call('ZCOUNT', starts, '(' .. int(now - rate.span), '+inf')
    free = math.min(free, left)
    if left <= 0 then
      local oldest = call('ZREVRANGE', starts, rate.count - 1, rate.count - 1, 'WITHSCORES')
      next_at = math.max(next_at, tonumber(oldest[2] or now) + rate.span)
    end
  end
  return math.max(0, free), next_at
end

-- Notes starts, for as long as a rate asks for it.
local function note_starts(starts, rates, ids)
  local span, noted = 0, {}
  for _, rate in ipairs(rates) do span = math.max(span, rate.span) end
  if span == 0 or #ids == 0 then return end
  for index, id in ipairs(ids) do
    noted[2 * index - 1] = stamp
    noted[2 * index] = id .. ',' .. stamp
  end
  call('ZREMRANGEBYSCORE', starts, '-inf', int(now - span))
  call('ZADD', starts, unpack(noted))
  call('PEXPIRE', starts, int(span))
end

-- What keeps a queue from starting anything: until when (-1: until somebody ends it) or nil, and whether that is a pause.
local function stopped_until(prefix)
  local control = call('HMGET', prefix .. 'control', 'paused', 'rest')
  local ends, rest = nil, tonumber(control[2] or 0)
  if control[1] then
    ends = tonumber(string.match(control[1], '^%d+,(%d*),') or '') or -1
    if ends ~= -1 and ends <= now then ends = nil end
  end
  local is_paused = ends ~= nil
  if rest > now and ends ~= -1 then ends = math.max(ends or 0, rest) end
  return ends, is_paused
end

-- How many jobs of a queue may start now by its own limits, whether it is one of jobs that run that allows no more,
-- when the next one may start where that is a matter of time (-1: when somebody resumes the queue), and whether the
-- queue is paused. While a process empties itself for a job that must run alone, the last place is kept for that job.
local function room_to_start(prefix, rules)
  local ends, is_paused = stopped_until(prefix)
  if ends then return 0, false, ends, is_paused end
  local free, next_at = allowance(prefix .. 'starts', rules.rates)
  local room = rules.running and math.max(0, rules.running - count_running(prefix)) or free
  local is_full = room <= free
  if room < 1e9 and free > 0 and room > 0 and call('EXISTS', prefix .. 'turn') == 1 then
    room, is_full = math.min(room, free) - 1, true
  end
  return math.min(room, free), is_full, free == 0 and next_at or nil, false
end
