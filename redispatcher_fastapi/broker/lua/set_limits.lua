-- Sets the limits of a queue for all pools, whatever their code says, or lets the code decide again.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  limits, see `read_rules`; '-' for those of the code
--
-- Returns  1
-- Moves    nothing

local prefix = KEYS[1]
expect(ARGV[2] == '-' or is_limits(ARGV[2]), 'limits')
call('HDEL', prefix .. 'control', 'limits')
if ARGV[2] ~= '-' then
  set_special(prefix)
  call('HSET', prefix .. 'control', 'limits', ARGV[2])
end
-- What the limits before held back, these may allow: what rests by a rate and not by the wish of a job, see `fail`, is
-- looked at by the next claims.
local kept = 0
repeat
  local resting = call('ZRANGEBYSCORE', prefix .. 'resting', '(' .. stamp, '+inf', 'WITHSCORES', 'LIMIT', kept, 1000)
  local ended = {}
  for index = 1, #resting, 2 do
    if tonumber(resting[index + 1]) % 1 == 0 then
      ended[#ended + 1] = stamp
      ended[#ended + 1] = resting[index]
    else
      kept = kept + 1
    end
  end
  if #ended > 0 then call('ZADD', prefix .. 'resting', unpack(ended)) end
until #resting < 2000
local used = call('HKEYS', prefix .. 'used')
table.sort(used)
for _, key in ipairs(used) do offer(prefix, key) end
call('DEL', prefix .. 'held_back')
wake(prefix)
return 1
