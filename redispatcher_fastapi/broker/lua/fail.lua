-- Ends attempts that did not succeed: the job runs again later, or never.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  holder
-- ARGV[3]  number of this call; repeated with the same number it gives the same answer
-- ARGV[4]  how long a dead job is kept     ARGV[5]  how long a cancelled one is, in milliseconds
-- ARGV[6…] per job: id, token, action, delay in milliseconds, reason, '' or the attempt's error; actions: 'retry' and
--          'snooze' after the delay, 'dead' for the reason, 'cancel', and 'limited': again at once, and its partition
--          rests for the delay, or the queue where the job has none or that is the reason
--
-- Returns  one character per job: '1' done, 'c' cancelled instead of run again, as somebody asked for,
--          'n' done and to be passed on, see `pass_on`,
--          's' stale: somebody else's now, 'g' gone: Redis lost it
-- Moves    running -> retrying | scheduled | queued | dead | cancelled

local prefix, holder, request = KEYS[1], ARGV[2], ARGV[3]
local held, calls = prefix .. 'held:' .. holder, prefix .. 'calls:' .. holder
local before = call('HMGET', calls, 'fail', 'fail:answer')
if before[1] == request then return before[2] end

expect(holder ~= '' and whole(ARGV[4], 0) and whole(ARGV[5], 0) and #ARGV > 5 and (#ARGV - 5) % 6 == 0, 'six values per job')
local answers, deliveries, records = {}, {}, {}
for index = 1, (#ARGV - 5) / 6 do
  local id = ARGV[6 * index]
  whole(ARGV[6 * index + 3], 0)
  local delivery, record = call('HGET', held, id), call('HGET', prefix .. 'jobs', id)
  if owns(delivery, ARGV[6 * index + 1]) and record then
    answers[index], deliveries[index], records[index] = '1', delivery, record
  else
    answers[index] = record and 's' or 'g'
  end
end

call('HDEL', held, '')
local has_extras = call('EXISTS', prefix .. 'special') == 1
for index, outcome in ipairs(answers) do
  local base = 6 * index
  local id, action, delay, reason, failure = ARGV[base], ARGV[base + 2], tonumber(ARGV[base + 3]), ARGV[base + 4], ARGV[base + 5]
  if outcome ~= '1' then
    call('HINCRBY', prefix .. 'stats', 'stale', 1)
  else
    local started = started_of(deliveries[index])
    local errors, losses, solo = read_faults(call('HGET', prefix .. 'faults', id))
    call('HDEL', held, id)
    if action ~= 'dead' and has_extras and call('SISMEMBER', prefix .. 'cancelling', id) == 1 then
      if action ~= 'cancel' then answers[index] = 'c' end
      action = 'cancel'
    end
    if failure ~= '' then
      add_attempt(prefix, id, int(started) .. ',' .. stamp .. ',' .. failure)
    end
    if (action == 'dead' or action == 'cancel') and has_extras and call('HEXISTS', prefix .. 'flows', id) == 1 then
      answers[index] = 'n'
    end
    if action == 'dead' then
      -- Rare:
      bury(prefix, id, records[index], started, errors + 1, losses, reason, ARGV[4])
      -- Until here.
      call('HINCRBY', prefix .. 'stats', 'died', 1)
    elseif action == 'cancel' then
      -- Rare:
      end_cancelled(prefix, id, records[index], started, errors + 1, losses, ARGV[5])
      -- Until here.
    elseif action == 'limited' then
      -- Rare:
      set_special(prefix)
      local key = reason ~= 'queue' and call('HGET', prefix .. 'partitions', id)
      if key then
        -- The half, just before the end, is the mark of a rest that a job asked for: new limits do not end it. That of a
        -- rate begins again if it is the longer one.
        local rests = tonumber(call('ZSCORE', prefix .. 'resting', key) or 0)
        if rests % 1 == 0 then rests = 0 end
        call('ZADD', prefix .. 'resting', int(math.ceil(math.max(rests, now + delay)) - 1) .. '.5', key)
      else
        local rests = tonumber(call('HGET', prefix .. 'control', 'rest') or 0)
        call('HSET', prefix .. 'control', 'rest', int(math.max(rests, now + delay)))
      end
      free_slot(prefix, id)
      queue_again(prefix, id, losses)
      call('HINCRBY', prefix .. 'stats', 'limited', 1)
      wake(prefix)
      -- Until here.
    else
      if action == 'snooze' then
        put_off(prefix, 'scheduled', id, now + delay)
        call('HINCRBY', prefix .. 'stats', 'snoozed', 1)
      else
        call('HSET', prefix .. 'faults', id, int(errors + 1) .. ',' .. int(losses) .. ',' .. int(solo))
        put_off(prefix, 'retrying', id, now + delay)
        call('HINCRBY', prefix .. 'stats', 'retried', 1)
      end
      if has_extras then
        -- Rare:
        leave_slot(prefix, id)
        -- Until here.
      end
    end
  end
end
local text = table.concat(answers)
if has_extras and string.find(text, '[1cn]') then
  -- Rare:
  let_others_on(prefix)
  -- Until here.
end
return answer(prefix, holder, 'fail', request, text)
