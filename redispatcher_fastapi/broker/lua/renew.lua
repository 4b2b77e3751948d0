-- Extends the lease of a process on each of its queues, or gives it one.
--
-- KEYS[i]  prefix of a queue
-- ARGV[2]  length of a lease in milliseconds
-- ARGV[3…] holder, one per queue
--
-- Returns  per queue: how many jobs the holder holds in Redis, or -1 when it was given up and may never come back
-- Moves    nothing

local lease, out, prefixes = whole(ARGV[2], 1), {}, queues(KEYS)
expect(#ARGV == #prefixes + 2, 'a holder per queue')
for index = 3, #ARGV do expect(ARGV[index] ~= '', 'no holder') end
for index, prefix in ipairs(prefixes) do
  local holder = ARGV[index + 2]
  local was_given_up = call('HEXISTS', prefix .. 'calls:' .. holder, 'given_up') == 1
  observe(prefix, lease)
  if was_given_up then
    out[index] = -1
  else
    -- With a new lease there is somebody to clear up after, see `answer`.
    if call('ZADD', prefix .. 'leases', int(now + lease), holder) == 1 then
      call('PERSIST', prefix .. 'calls:' .. holder)
    end
    out[index] = call('HLEN', prefix .. 'held:' .. holder)
  end
end
return out
