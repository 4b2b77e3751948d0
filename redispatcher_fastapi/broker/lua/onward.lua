-- Lists ends of jobs that are to be passed on to what follows, and forgets those that were.
--
-- KEYS[1]  prefix of the queue
-- ARGV[2]  how many to list
-- ARGV[3]  where to go on: the cursor of the answer before, or '0'
-- ARGV[4…] per end that was passed on: id, what was listed of it
--
-- Returns  the cursor to go on from, '0' after the last, and {id, `<letter><continuation>\n<details>`, …}
-- Moves    nothing

local prefix = KEYS[1]
expect(whole(ARGV[2], 0) and string.find(ARGV[3], '^%d+$') and #ARGV % 2 == 1, 'a page, and two values per end')
for at = 4, #ARGV, 2 do
  -- A job that was redriven meanwhile may have ended once more.
  if call('HGET', prefix .. 'onward', ARGV[at]) == ARGV[at + 1] then call('HDEL', prefix .. 'onward', ARGV[at]) end
end
if ARGV[2] == '0' then return {'0', {}} end
local page = call('HSCAN', prefix .. 'onward', ARGV[3], 'COUNT', ARGV[2])
-- The oldest fakeredis has a number there.
return {string.match(tostring(page[1]), '^%d+'), page[2]}
