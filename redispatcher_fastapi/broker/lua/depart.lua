-- Ends the lease of a process that holds nothing any more.
--
-- KEYS[i]  prefix of a queue
-- ARGV[2…] holder, one per queue
--
-- Returns  per queue: 1, or 0 when the holder still holds jobs and keeps its lease
-- Moves    nothing

local out, prefixes = {}, queues(KEYS)
expect(#ARGV == #prefixes + 1, 'a holder per queue')
for index, prefix in ipairs(prefixes) do
  local holder = ARGV[index + 1]
  out[index] = 0
  if call('EXISTS', prefix .. 'held:' .. holder) == 0 then
    call('ZREM', prefix .. 'leases', holder)
    call('DEL', prefix .. 'calls:' .. holder)
    if call('ZCARD', prefix .. 'leases') == 1 then call('ZREM', prefix .. 'leases', '') end
    end_turn(prefix, holder)
    out[index] = 1
  end
end
return out
