-- Counts the jobs of a queue by state.
--
-- KEYS[1]  prefix of the queue
--
-- Returns  {scheduled, queued, running, retrying, succeeded, dead, cancelled}; of finished jobs, those still kept
-- Moves    nothing

local prefix = KEYS[1]
return {
  call('ZCARD', prefix .. 'scheduled'),
  count_queued(prefix),
  count_running(prefix),
  call('ZCARD', prefix .. 'retrying'),
  call('LLEN', prefix .. 'succeeded'),
  call('ZCARD', prefix .. 'dead'),
  call('LLEN', prefix .. 'cancelled'),
}
