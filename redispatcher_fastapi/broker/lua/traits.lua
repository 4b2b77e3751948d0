-- Stands behind the prelude: what a job can ask for besides running in turn, and where it waits for it.
--
-- KEYS[i]  see the prelude

-- Whether a job or an operator of this queue asked for more than to run jobs in turn: for a level, a partition, a lock, an
-- end, a limit, a pause, a cancellation. Jobs of other queues pay this one call; scripts that all of them go through make
-- it themselves, as making a function costs, too. `upkeep` takes the mark away again.
local function has_traits(prefix) return call('EXISTS', prefix .. 'special') == 1 end

-- To be called by whatever writes first what only such queues have.
local function set_special(prefix) call('SET', prefix .. 'special', '1') end

-- The list of a level for jobs without a partition.
local function ready_list(prefix, level)
  return prefix .. (level == 'normal' and 'ready' or 'ready:' .. level)
end

-- Gives a partition its place in the ring, at the level of the first that waits in its line and, when it was served,
-- behind all others of that level; it has none while it rests, or is full, or nobody waits in its line. One whose first
-- job was lost with a process has its place before all levels, where `claim` put it. Tells whether it has one.
local function offer(prefix, key, is_served, is_full)
  local place, waiting = nil, 0
  for number, level in ipairs({'high', 'normal', 'low'}) do
    local length = call('LLEN', prefix .. 'line:' .. level .. ':' .. key)
    if length > 0 and not place then place = number end
    waiting = waiting + length
  end
  if not place then
    call('ZREM', prefix .. 'lines', key)
    call('ZREM', prefix .. 'ring', key)
    return false
  end
  call('ZADD', prefix .. 'lines', waiting, key)
  if is_full or call('ZSCORE', prefix .. 'resting', key) then
    call('ZREM', prefix .. 'ring', key)
    return false
  end
  local score = not is_served and call('ZSCORE', prefix .. 'ring', key)
  local band = score and math.floor(tonumber(score) / 1e12)
  if not band or (band ~= 0 and band ~= place) then
    call('ZADD', prefix .. 'ring', int(place * 1e12 + call('HINCRBY', prefix .. 'stats', 'turns', 1)), key)
  end
  return true
end

-- Lets a job wait for its turn, behind all others of its level and partition or before them.
local function queue_up(prefix, id, is_first)
  local level, key = call('HGET', prefix .. 'levels', id) or 'normal', call('HGET', prefix .. 'partitions', id)
  local list = key and prefix .. 'line:' .. level .. ':' .. key or ready_list(prefix, level)
  if is_first then call('LPUSH', list, id) else call('RPUSH', list, id) end
  if key then offer(prefix, key) end
end

-- Gives back the slot that a job occupies in its partition; returns the partition if there was one.
local function free_slot(prefix, id)
  local slot = call('HGET', prefix .. 'slots', id)
  if not slot then return nil end
  local key = string.sub(slot, 2)
  call('HDEL', prefix .. 'slots', id)
  if call('HINCRBY', prefix .. 'used', key, -1) <= 0 then call('HDEL', prefix .. 'used', key) end
  return key
end

-- Lets a job that ran go first in line; one without a partition where those wait that were lost as often.
local function queue_again(prefix, id, losses)
  if lane(losses) ~= 'ready' and call('HEXISTS', prefix .. 'partitions', id) == 0 then
    call('LPUSH', prefix .. lane(losses), id)
  else
    queue_up(prefix, id, true)
  end
end

-- A job that stops running without being finished gives back its slot, unless its partition is ordered.
local function leave_slot(prefix, id)
  local slot = call('HGET', prefix .. 'slots', id)
  if slot and string.byte(slot) ~= 111 then
    local key = free_slot(prefix, id)
    if offer(prefix, key) then wake(prefix) end
  end
end

-- Lets go of the lock that makes a job unique; of one that lasts for a time only where the job was never done.
local function unlock(prefix, id, is_undone)
  local lock = call('HGET', prefix .. 'locks', id)
  if not lock then return end
  local scope, key = string.sub(lock, 1, 1), string.sub(lock, 2)
  call('HDEL', prefix .. 'locks', id)
  if (scope ~= 't' or is_undone) and call('HGET', prefix .. 'uniques', key) == id then
    call('HDEL', prefix .. 'uniques', key)
    call('ZREM', prefix .. 'windows', key)
  end
end

-- Lets go of all that a job had which is finished now. One that is dead keeps its level and its partition, as it may be
-- redriven; `is_undone`: it was not done, and not given up either.
local function let_go(prefix, id, is_dead, is_undone)
  local key = free_slot(prefix, id)
  if key and offer(prefix, key) then wake(prefix) end
  unlock(prefix, id, is_undone)
  call('ZREM', prefix .. 'expiries', id)
  call('SREM', prefix .. 'cancelling', id)
  if not is_dead then
    call('HDEL', prefix .. 'levels', id)
    call('HDEL', prefix .. 'partitions', id)
  end
end

-- Wakes a pool after a job ended, if a limit kept one from taking more.
local function let_others_on(prefix)
  if call('DEL', prefix .. 'held_back') == 1 then wake(prefix) end
end

-- Takes a job that waits out of where it does, as far as that is quick: in a list of a million an id stays where it is,
-- and is passed over when its turn comes.
local function take_out(prefix, id)
  if call('ZREM', prefix .. 'scheduled', id) == 0 and call('ZREM', prefix .. 'retrying', id) == 0 then
    call('SADD', prefix .. 'ghosts', id)
  end
end

-- Makes the entry of a job in the list of a level void, where another will take its place.
local function void_entry(prefix, id, level)
  local key = call('HGET', prefix .. 'partitions', id)
  local list = key and prefix .. 'line:' .. level .. ':' .. key or ready_list(prefix, level)
  -- Of two void entries in one list, the set could not tell: that is rare enough to search for one.
  if call('SADD', prefix .. 'moved', level .. ':' .. id) == 0 then call('LREM', list, 1, id) end
end

-- An id that is used again must not run from the place its former job left behind in a list. That is looked for in the
-- lines of all partitions only if it is not where it most likely is: where the new job will wait, too.
local function forget_places(prefix, id, key)
  if call('EXISTS', prefix .. 'ghosts', prefix .. 'moved') == 0 then return end
  local is_ghost = call('SREM', prefix .. 'ghosts', id) == 1
  local missing, levels = is_ghost and 1 or 0, {}
  for _, level in ipairs({'high', 'normal', 'low'}) do
    local is_void = call('SREM', prefix .. 'moved', level .. ':' .. id) == 1
    if is_void then missing = missing + 1 end
    if is_void or is_ghost then levels[#levels + 1] = level end
  end
  local function forget_in_lines(line)
    local found = 0
    for _, level in ipairs(levels) do found = found + call('LREM', prefix .. 'line:' .. level .. ':' .. line, 0, id) end
    if found > 0 then offer(prefix, line) end
    missing = missing - found
  end
  for _, level in ipairs(levels) do missing = missing - call('LREM', ready_list(prefix, level), 0, id) end
  if is_ghost then
    missing = missing - call('LREM', prefix .. 'suspects', 0, id) - call('LREM', prefix .. 'solo', 0, id)
  end
  if missing > 0 and key then forget_in_lines(key) end
  if missing > 0 then
    for _, line in ipairs(call('ZRANGE', prefix .. 'lines', 0, -1)) do forget_in_lines(line) end
  end
end
