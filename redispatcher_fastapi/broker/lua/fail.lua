-- Ends attempts that did not succeed: the job runs again later, or never.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  holder
-- ARGV[3]  number of this call; repeated with the same number it gives the same answer
-- ARGV[4]  how long a dead job is kept, in milliseconds
-- ARGV[5…] per job: id, token, 'retry' | 'snooze' | 'dead', delay in milliseconds, reason, '' or the attempt's error
--
-- Returns  one character per job: '1' done, 's' stale: somebody else's now, 'g' gone: Redis lost it
-- Moves    running -> retrying | scheduled | dead

local prefix, holder, request = KEYS[1], ARGV[2], ARGV[3]
local held, calls = prefix .. 'held:' .. holder, prefix .. 'calls:' .. holder
local before = call('HMGET', calls, 'fail', 'fail:answer')
if before[1] == request then return before[2] end

expect(holder ~= '' and whole(ARGV[4], 0) and #ARGV > 4 and (#ARGV - 4) % 6 == 0, 'six values per job')
local answers, deliveries, records = {}, {}, {}
for index = 1, (#ARGV - 4) / 6 do
  local id = ARGV[6 * index - 1]
  whole(ARGV[6 * index + 2], 0)
  local delivery, record = call('HGET', held, id), call('HGET', prefix .. 'jobs', id)
  if owns(delivery, ARGV[6 * index]) and record then
    answers[index], deliveries[index], records[index] = '1', delivery, record
  else
    answers[index] = record and 's' or 'g'
  end
end

call('HDEL', held, '')
for index, outcome in ipairs(answers) do
  local base = 6 * index - 1
  local id, action, delay, reason, failure = ARGV[base], ARGV[base + 2], tonumber(ARGV[base + 3]), ARGV[base + 4], ARGV[base + 5]
  if outcome ~= '1' then
    call('HINCRBY', prefix .. 'stats', 'stale', 1)
  else
    local started = started_of(deliveries[index])
    call('HDEL', held, id)
    if failure ~= '' then
      add_attempt(prefix, id, int(started) .. ',' .. stamp .. ',' .. failure)
    end
    if action == 'snooze' then
      put_off(prefix, 'scheduled', id, now + delay)
      call('HINCRBY', prefix .. 'stats', 'snoozed', 1)
    else
      local errors, losses, solo = read_faults(call('HGET', prefix .. 'faults', id))
      if action == 'retry' then
        call('HSET', prefix .. 'faults', id, int(errors + 1) .. ',' .. int(losses) .. ',' .. int(solo))
        put_off(prefix, 'retrying', id, now + delay)
        call('HINCRBY', prefix .. 'stats', 'retried', 1)
      else
        bury(prefix, id, records[index], started, errors + 1, losses, reason, ARGV[4])
        call('HINCRBY', prefix .. 'stats', 'died', 1)
      end
    end
  end
end
return answer(prefix, holder, 'fail', request, table.concat(answers))
