-- Counts the jobs of a queue by state.
--
-- KEYS[1]  prefix of the queue
--
-- Returns  {scheduled, queued, running, retrying, succeeded, dead, cancelled}; of finished jobs, those still kept
-- Moves    nothing

local prefix, running = KEYS[1], 0
for _, holder in ipairs(call('ZRANGE', prefix .. 'leases', 0, -1)) do
  if holder ~= '' then running = running + call('HLEN', prefix .. 'held:' .. holder) end
end
return {
  call('ZCARD', prefix .. 'scheduled'),
  count_queued(prefix),
  running,
  call('ZCARD', prefix .. 'retrying'),
  call('LLEN', prefix .. 'succeeded'),
  call('ZCARD', prefix .. 'dead'),
  call('LLEN', prefix .. 'cancelled'),
}
