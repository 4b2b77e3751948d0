-- Stands behind the prelude: what schedules are kept as.
--
-- KEYS[i]  see the prelude

-- A schedule is kept as `<d or r><revision>\n<definition>`: declared by the code of a pool, or made at run time.
local function revision_of(schedule) return string.match(schedule, '^[dr]([%w_-]+)\n') end

-- What became of a schedule: `<paused>,<waiting>,<last tick>,<jobs made>,<ticks passed over>,<last job>`.
local function read_fired(prefix, id)
  local text = call('HGET', prefix .. 'fired', id) or ''
  local paused, waiting, tick, made, over, job = string.match(text, '^([01]),([01]),(%d*),(%d+),(%d+),([^,]*)$')
  return {
    paused = paused or '0', waiting = waiting or '0', tick = tick or '', made = tonumber(made or 0),
    over = tonumber(over or 0), job = job or ''
  }
end

local function write_fired(prefix, id, paused, waiting, state)
  local counts = int(state.made) .. ',' .. int(state.over)
  call('HSET', prefix .. 'fired', id, paused .. ',' .. waiting .. ',' .. state.tick .. ',' .. counts .. ',' .. state.job)
end

-- Sets when a schedule ticks next, '' for never; not of one that is paused.
local function set_tick(prefix, id, tick, keep)
  if read_fired(prefix, id).paused == '1' then return end
  if tick == '' then
    call('ZREM', prefix .. 'ticks', id)
  elseif not (keep and call('ZSCORE', prefix .. 'ticks', id)) then
    call('ZADD', prefix .. 'ticks', tick, id)
  end
end

-- Has a pool look at the schedules again, if this one ticks before all others.
local function wake_for_tick(prefix, id)
  if call('ZRANGE', prefix .. 'ticks', 0, 0)[1] == id then
    call('DEL', prefix .. 'wake')
    call('RPUSH', prefix .. 'wake', 't')
  end
end
