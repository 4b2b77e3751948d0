-- Notes how one member of a group ended, for the job that follows when all have, or one failed.
--
-- KEYS[1]  prefix of the queue of the job that follows
-- ARGV[2]  group, which is the id of the job that follows
-- ARGV[3]  number of the member, from 1
-- ARGV[4]  how many members there are
-- ARGV[5]  how it ended: letter S, D or C and its result or the reason
-- ARGV[6]  '1' to follow as soon as one did not succeed
-- ARGV[7]  how long an incomplete group is kept after its last arrival, in milliseconds
--
-- Returns  {number, how it ended, …} of those that have arrived, to the one whose arrival was the last that was needed; {} to
--          all others, and to all once the job that follows is there: then the ends are forgotten
-- Moves    nothing

local prefix, group, member = KEYS[1], ARGV[2], ARGV[3]
local number, count = whole(member, 1), whole(ARGV[4], 1)
expect(group ~= '' and number <= count and string.find(ARGV[5], '^[SDC]') and whole(ARGV[7], 1), 'a member')
local key = prefix .. 'joins:' .. group
if call('HEXISTS', prefix .. 'jobs', group) == 1 or tonumber(call('ZSCORE', prefix .. 'remembered', group) or 0) > now then
  call('DEL', key)
  return {}
end

call('HDEL', key, '')
call('HSETNX', key, member, ARGV[5])
call('PEXPIRE', key, ARGV[7])
local is_failure = string.byte(call('HGET', key, member)) ~= 83
local last = call('HGET', key, 'last')
if not last and (call('HLEN', key) >= count or ARGV[6] == '1' and is_failure) then
  call('HSET', key, 'last', member)
  last = member
end
if last ~= member then return {} end
local arrived, all = {}, call('HGETALL', key)
for at = 1, #all, 2 do
  if all[at] ~= 'last' then
    arrived[#arrived + 1] = all[at]
    arrived[#arrived + 1] = all[at + 1]
  end
end
return arrived
