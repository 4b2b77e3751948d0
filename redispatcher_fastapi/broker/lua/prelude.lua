-- Stands before every script, with those of its functions that the script calls.
-- `docs/life-of-a-job.md` tells which key holds what.
--
-- KEYS[i]  prefix of a queue, `rd:{queue}:`; every other key is that prefix plus a suffix, in the same slot.
--          The last one is a key that never exists, in the slot of the one before: of a slot that is being moved,
--          a cluster would run a script with one such key on the new node, apart from what the old one still has;
--          to two keys that are not there it answers TRYAGAIN.
-- ARGV[1]  the time in milliseconds, or '' for the server's own clock
--
-- Rules all scripts keep: read and decide first, then write; the first write is one that Redis also takes
-- at maxmemory (then it takes the rest too); nothing can fail between two writes; a body is never parsed.

local call = redis.call
local now = tonumber(ARGV[1])
if ARGV[1] ~= '' then
  if not now or not string.find(ARGV[1], '^%d+$') or #ARGV[1] > 13 then error('ARGV[1] is no time in milliseconds') end
else
  local time = call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local stamp = string.format('%013.0f', now)

local function queues(keys)
  local prefixes = {}
  for index = 1, #keys - 1 do prefixes[index] = keys[index] end
  return prefixes
end

-- Refuses a call that no caller of this library makes, while nothing is written yet.
local function expect(is_right, what)
  if not is_right then error('wrong arguments: ' .. what) end
end

-- Reads a whole number from `least` on, written as Redis reads it; with more than 15 digits it would not be exact.
local function whole(text, least)
  local number = tonumber(text)
  if not number or number < least or #text > 16 or not (text == '0' or string.find(text, '^%-?[1-9]%d*$')) then
    error('wrong arguments: no whole number from ' .. least)
  end
  return number
end

local function int(number) return string.format('%.0f', number) end

-- A record is `<published><!><envelope>` while the job lives, `!` marking an id the caller chose, and
-- `<letter><finished>,<run>,<wait>[,<attempts>,<losses>[,<reason>\n<live record>]][,r]` once it is finished;
-- letters: S succeeded, C cancelled, D dead, in lower case for an id the caller chose; `r`: it had a result.
local function is_finished(record)
  local first = string.byte(record, 1) or 0
  if first >= 48 and first <= 57 then return false end
  return string.find(record, '^[SCDscd]%d%d%d%d%d') ~= nil
end

local function finished_record(letter, record, started, attempts, losses)
  local published, mark = string.match(record, '^(%d%d%d%d%d%d%d%d%d%d%d%d%d)(!?)')
  if mark == '!' then letter = string.lower(letter) end
  local wait = started - (tonumber(published) or started)
  local text = letter .. stamp .. ',' .. int(now - started) .. ',' .. int(wait)
  if attempts ~= 1 or losses ~= 0 then text = text .. ',' .. int(attempts) .. ',' .. int(losses) end
  return text
end

-- `errors,losses,solo losses` of a job that had any.
local function read_faults(text)
  if not text then return 0, 0, 0 end
  local errors, losses, solo = string.match(text, '^(%d+),(%d+),(%d+)$')
  return tonumber(errors or 0), tonumber(losses or 0), tonumber(solo or 0)
end

-- Where a job waits depends on how often a process died holding it.
local function lane(losses)
  if losses == 0 then return 'ready' end
  return losses < 3 and 'suspects' or 'solo'
end

-- How many jobs a process holds, of all processes together.
local function count_running(prefix)
  local running = 0
  for _, holder in ipairs(call('ZRANGE', prefix .. 'leases', 0, -1)) do
    if holder ~= '' then running = running + call('HLEN', prefix .. 'held:' .. holder) end
  end
  return running
end

-- How many jobs could run now: those that are neither finished, nor wait for a time, nor run.
local function count_queued(prefix)
  local finished = call('LLEN', prefix .. 'succeeded') + call('LLEN', prefix .. 'cancelled') + call('ZCARD', prefix .. 'dead')
  local waiting = call('ZCARD', prefix .. 'scheduled') + call('ZCARD', prefix .. 'retrying')
  return math.max(0, call('HLEN', prefix .. 'jobs') - finished - waiting - count_running(prefix))
end

local function wake(prefix)
  if call('LLEN', prefix .. 'wake') == 0 then
    call('DEL', prefix .. 'wake')
    call('RPUSH', prefix .. 'wake', '1')
  end
end

-- Which process holds a job, if any does.
local function holder_of(prefix, id)
  for _, holder in ipairs(call('ZRANGE', prefix .. 'leases', 0, -1)) do
    if holder ~= '' and call('HEXISTS', prefix .. 'held:' .. holder, id) == 1 then return holder end
  end
end

-- Puts a job off; a pool that sleeps until a later time is woken to learn of the earlier one.
local function put_off(prefix, container, id, due)
  local head = call('ZRANGE', prefix .. container, 0, 0, 'WITHSCORES')
  call('ZADD', prefix .. container, int(due), id)
  if not head[2] or due < tonumber(head[2]) then wake(prefix) end
end

-- Ends the turn to empty itself that a holder may have; its value is `<holder>,<sequence>`.
local function end_turn(prefix, holder)
  local turn = call('GET', prefix .. 'turn')
  if turn and string.match(turn, '^[^,]*') == holder then call('DEL', prefix .. 'turn') end
end

local function announce(prefix, id)
  if call('SREM', prefix .. 'watched', id) == 1 then call('PUBLISH', prefix .. 'finished', id) end
end

-- A delivery, as kept under its holder: its token `<sequence>,<started>`, with `*` for a job that runs alone.
-- The fence: it is owned by whoever names exactly this token under this holder.
local function owns(delivery, token) return delivery == token end

local function started_of(delivery) return tonumber(string.match(delivery, '^%d+,(%d+)%*?$')) or now end

-- A refused write: the job went on without this worker, or Redis no longer knows it.
local function refusal(prefix, id)
  return call('HEXISTS', prefix .. 'jobs', id) == 1 and 's' or 'g'
end

-- Notices an outage or a step of the clock: then nobody could renew, so every lease begins anew. Notes when, how many,
-- and the milliseconds in which nobody looked, less than 0 for a clock that was set back: the reply to whoever noticed
-- may be lost, as after an outage the server first carries out what those had sent who have given up waiting.
local function observe(prefix, lease)
  local leases = prefix .. 'leases'
  local seen = tonumber(call('ZSCORE', leases, '') or now)
  call('ZREM', leases, '')
  if now < seen or now - seen > lease / 2 then
    local holders = call('ZRANGE', leases, 0, -1)
    for _, holder in ipairs(holders) do call('ZADD', leases, int(now + lease), holder) end
    if #holders > 0 then
      call('HINCRBY', prefix .. 'stats', 'graces', 1)
      local note = stamp .. ',' .. #holders .. ',' .. int(now - seen)
      call('SET', prefix .. 'grace', note, 'PX', 3600000)
    end
  end
  call('ZADD', leases, stamp, '')
end

-- Remembers the answer to a call that must not be carried out twice. Nobody clears up after a holder that
-- Redis has forgotten: then it is remembered for as long as a call is likely to be repeated.
local function answer(prefix, holder, operation, request, text)
  local calls = prefix .. 'calls:' .. holder
  call('HSET', calls, operation, request, operation .. ':answer', text)
  if not call('ZSCORE', prefix .. 'leases', holder) then call('PEXPIRE', calls, 600000) end
  return text
end
