-- Notes how one member of a group ended, for the job that follows when all have, or one failed.
--
-- KEYS[1]  prefix of the queue of the job that follows
-- ARGV[2]  group
-- ARGV[3]  number of the member, from 1
-- ARGV[4]  how many members there are
-- ARGV[5]  how it ended: letter S, D or C and its result or the reason
-- ARGV[6]  '1' to follow as soon as one did not succeed
-- ARGV[7]  how long an incomplete group is kept after its last arrival, in milliseconds
--
-- Returns  {} while members are missing, else {number, how it ended, …} of those that have arrived
-- Moves    nothing

local prefix, group = KEYS[1], ARGV[2]
local number, count = whole(ARGV[3], 1), whole(ARGV[4], 1)
expect(group ~= '' and number <= count and string.find(ARGV[5], '^[SDC]') and whole(ARGV[7], 1), 'a member')
local key = prefix .. 'joins:' .. group
call('HDEL', key, '')
-- The first end of a member counts; one that was redriven may end again.
if call('HEXISTS', key, ARGV[3]) == 0 then call('HSET', key, ARGV[3], ARGV[5]) end
call('PEXPIRE', key, ARGV[7])
local is_complete = call('HLEN', key) >= count
if not is_complete and ARGV[6] == '1' then
  for _, ended in ipairs(call('HVALS', key)) do is_complete = is_complete or string.byte(ended) ~= 83 end
end
return is_complete and call('HGETALL', key) or {}
