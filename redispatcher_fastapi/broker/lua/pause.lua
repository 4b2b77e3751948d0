-- Pauses a queue: what runs goes on, and nothing starts until it is resumed or the pause ends.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  when the pause ends, as a time or delay of `time_of`; '' when it is resumed, '-' to resume it now
-- ARGV[3]  why, for people
--
-- Returns  1, or 0 when a queue that was to be resumed was not paused
-- Moves    nothing

local prefix, ends = KEYS[1], ARGV[2]
if ends == '-' then
  local was_paused = call('HDEL', prefix .. 'control', 'paused')
  wake(prefix)
  return was_paused
end
ends = ends ~= '' and int(time_of(ends)) or ''
call('HDEL', prefix .. 'control', 'paused')
set_special(prefix)
call('HSET', prefix .. 'control', 'paused', stamp .. ',' .. ends .. ',' .. ARGV[3])
-- A pool that sleeps until something falls due has to learn of the new end.
wake(prefix)
return 1
