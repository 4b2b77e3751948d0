-- Makes the jobs of schedules that are due, and sets when these are due again: once for each tick, whoever asks.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  how many jobs may wait in the queue
-- ARGV[3…] per schedule: id, revision, the tick that is due ('' for a run beside the ticks), the next one ('' none), the
--          newest that is dealt with here, 'a', 's' or 'q' to allow, skip or queue what overlaps, number of ticks that
--          are passed over, number of jobs; then per job the ten values of `add_job`
--
-- Returns  per schedule: one character per job as `add_job` answers; or 'stale': it was dealt with before, or changed;
--          'wait': its previous job is not finished, and this one waits for it; 'over': passed over for that reason;
--          'full': the queue is full
-- Moves    nothing -> queued | scheduled

local EACH = 10
local prefix, limit = KEYS[1], whole(ARGV[2], 0)
local at = 3
while at <= #ARGV do
  expect(at + 7 <= #ARGV, 'eight values per schedule')
  for _, offset in ipairs({2, 3}) do expect(ARGV[at + offset] == '' or whole(ARGV[at + offset], 0), 'a tick') end
  expect(string.find(ARGV[at + 5], '^[asq]$') and whole(ARGV[at + 4], 0) and whole(ARGV[at + 6], 0), 'a schedule')
  for index = 0, whole(ARGV[at + 7], 0) - 1 do
    expect(ARGV[at + 17 + EACH * index] ~= nil, 'ten values per job')
    check_job(ARGV, at + 8 + EACH * index)
  end
  at = at + 8 + EACH * tonumber(ARGV[at + 7])
end
expect(at == #ARGV + 1, 'ten values per job')

-- How many jobs the queue has room for; all there are, finished ones too, are counted first, as that is quick.
local function room_for(count)
  local room = limit - call('HLEN', prefix .. 'jobs')
  if room >= count then return room end
  return limit - count_queued(prefix) - call('ZCARD', prefix .. 'scheduled') - call('ZCARD', prefix .. 'retrying')
end

local function is_running(id)
  local record = id ~= '' and call('HGET', prefix .. 'jobs', id)
  return record and not is_finished(record)
end

local function fire(base)
  local id, tick, next_tick, newest = ARGV[base], ARGV[base + 2], ARGV[base + 3], ARGV[base + 4]
  local overlap, over, count = ARGV[base + 5], tonumber(ARGV[base + 6]), tonumber(ARGV[base + 7])
  local schedule = call('HGET', prefix .. 'schedules', id)
  if not schedule or revision_of(schedule) ~= ARGV[base + 1] then return 'stale' end
  local is_tick, state = tick ~= '', read_fired(prefix, id)
  if is_tick then
    local due = call('ZSCORE', prefix .. 'ticks', id)
    if not due or tonumber(due) ~= tonumber(tick) or tonumber(due) > now then return 'stale' end
  end

  local verdict, room = nil, room_for(count)
  if is_tick and count > 0 and overlap ~= 'a' and is_running(state.job) then
    if overlap == 'q' then
      if state.waiting ~= '1' then write_fired(prefix, id, state.paused, '1', state) end
      return 'wait'
    end
    verdict, over, count = 'over', over + count, 0
  elseif count > 0 and room < count then
    return 'full'
  end

  local answers = {}
  if is_tick then
    call('ZREM', prefix .. 'ticks', id)
    set_tick(prefix, id, next_tick, false)
  end
  for index = 1, count do
    local place = base + 8 + EACH * (index - 1)
    local other
    answers[index], other = add_job(prefix, ARGV, place, room)
    state.job = other or ARGV[place]
    if answers[index] == '1' then state.made, room = state.made + 1, room - 1 end
  end
  if is_tick then state.tick = newest end
  state.over = state.over + over
  write_fired(prefix, id, state.paused, '0', state)
  return verdict or table.concat(answers)
end

local out = {}
at = 3
while at <= #ARGV do
  out[#out + 1] = fire(at)
  at = at + 8 + EACH * tonumber(ARGV[at + 7])
end
return out
