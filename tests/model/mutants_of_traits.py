"""Single mutations of what jobs can ask for: levels, partitions, locks, an expiry, followers."""

from __future__ import annotations

from tests.model.mutant import Mutant

TRAITS = (
    Mutant(
        "a partition that rests is offered",
        "traits",
        "if is_full or call('ZSCORE', prefix .. 'resting', key) then",
        "if is_full then",
    ),
    Mutant(
        "a full partition is offered", "traits", "if is_full or call('ZSCORE'", "if call('ZSCORE'"
    ),
    Mutant(
        "a served partition keeps its turn",
        "traits",
        "not is_served and call('ZSCORE', prefix .. 'ring', key)",
        "call('ZSCORE', prefix .. 'ring', key)",
    ),
    Mutant(
        "whoever waits gets a new turn",
        "traits",
        "not is_served and call('ZSCORE', prefix .. 'ring', key)",
        "false",
    ),
    Mutant(
        "an empty partition stays in the ring",
        "traits",
        "    call('ZREM', prefix .. 'lines', key)\n    call('ZREM', prefix .. 'ring', key)",
        "    call('ZREM', prefix .. 'lines', key)",
    ),
    Mutant("a slot is not given back", "traits", "  call('HDEL', prefix .. 'slots', id)\n"),
    Mutant(
        "used slots are counted for ever",
        "traits",
        "then call('HDEL', prefix .. 'used', key) end",
        "then end",
    ),
    Mutant(
        "an ordered job gives up its turn",
        "traits",
        "if slot and string.byte(slot) ~= 111 then",
        "if slot then",
    ),
    Mutant(
        "a slot that is left wakes nobody",
        "traits",
        "    if offer(prefix, key) then wake(prefix) end",
        "    offer(prefix, key)",
    ),
    Mutant(
        "the end of a job wakes nobody",
        "traits",
        "if key and offer(prefix, key) then wake(prefix) end",
        "if key then offer(prefix, key) end",
    ),
    Mutant(
        "an end keeps its slot",
        "traits",
        "local key = free_slot(prefix, id)\n  if key and",
        "local key = nil\n  if key and",
    ),
    Mutant(
        "a lock outlives its job", "traits", "  unlock(prefix, id, is_undone)\n  call", "  call"
    ),
    Mutant(
        "a window outlives what was not done",
        "traits",
        "(scope ~= 't' or is_undone) and",
        "scope ~= 't' and",
    ),
    Mutant("a window ends with its job", "traits", "(scope ~= 't' or is_undone) and", ""),
    Mutant(
        "the lock of another job is let go",
        "traits",
        " and call('HGET', prefix .. 'uniques', key) == id then",
        " then",
    ),
    Mutant("a cancelled job can still expire", "traits", "call('ZREM', prefix .. 'expiries', id)"),
    Mutant(
        "a finished job is still to be cancelled",
        "traits",
        "call('SREM', prefix .. 'cancelling', id)",
    ),
    Mutant("a finished job keeps its level", "traits", "call('HDEL', prefix .. 'levels', id)"),
    Mutant("a dead job loses its partition", "traits", "if not is_dead then", "if true then"),
    Mutant(
        "an end leaves others held back",
        "traits",
        "if call('DEL', prefix .. 'held_back') == 1 then wake(prefix) end",
        "call('DEL', prefix .. 'held_back')",
    ),
    Mutant(
        "a moved job runs from its old place",
        "traits",
        "call('SADD', prefix .. 'moved', level .. ':' .. id) == 0",
        "false",
    ),
    Mutant(
        "two entries count no more",
        "traits",
        "== 0 then call('LREM', list, 1, id) end",
        "== 0 then end",
    ),
    Mutant(
        "an id used again keeps its old turn",
        "traits",
        "if found > 0 then offer(prefix, line) end",
    ),
    Mutant("a special queue has no mark", "traits", "call('SET', prefix .. 'special', '1')"),
    Mutant("a death is not passed on", "endings", "pass_on(prefix, id, 'D', reason)"),
    Mutant(
        "what follows a dead job is lost",
        "endings",
        "if letter ~= 'D' or not is_for_success then",
        "if true then",
    ),
    Mutant(
        "what follows a success follows anything",
        "endings",
        "if letter ~= 'S' and is_for_success then return false end",
    ),
    Mutant("a death keeps its slot", "endings", "let_go(prefix, id, true)"),
    Mutant(
        "a cancellation keeps its window",
        "endings",
        "let_go(prefix, id, false, true)",
        "let_go(prefix, id)",
    ),
    Mutant(
        "a cancelled run is tried again",
        "fail",
        "if action ~= 'dead' and has_extras and",
        "if false and",
    ),
    Mutant("whoever met a limit keeps its slot", "fail", "      free_slot(prefix, id)\n"),
    Mutant(
        "a partition that met a limit goes on",
        "fail",
        "math.max(rests, now + delay)) - 1) .. '.5'",
        "now) - 1) .. '.5'",
    ),
    Mutant("a rest has no mark of its own", "fail", " .. '.5', key)", ", key)"),
    Mutant("a failure keeps its slot", "fail", "leave_slot(prefix, id)"),
    Mutant(
        "a cancelled job is given back",
        "release",
        "local record = is_cancelled and",
        "local record = false and",
    ),
    Mutant("given back with its slot", "release", "    free_slot(prefix, id)\n"),
    Mutant("a lost job keeps its slot", "upkeep", "          free_slot(prefix, id)\n"),
    Mutant(
        "a lost job is the last of its partition",
        "upkeep",
        "queue_up(prefix, id, true)",
        "queue_up(prefix, id)",
    ),
    Mutant(
        "a cancelled job that is lost runs again",
        "upkeep",
        "local is_cancelled = call('SISMEMBER', prefix .. 'cancelling', id) == 1",
        "local is_cancelled = false",
    ),
    Mutant("a loss leaves others held back", "upkeep", "call('DEL', prefix .. 'held_back')"),
    Mutant(
        "a lock outlives its window", "upkeep", "call('HDEL', prefix .. 'uniques', unpack(locks))"
    ),
    Mutant("nobody looks for what has expired", "upkeep", "has_more = expire(prefix) or has_more"),
    Mutant("the forgotten dead keep their level", "upkeep", "call('HDEL', prefix .. 'levels', id)"),
    Mutant(
        "the forgotten dead keep their followers", "upkeep", "call('HDEL', prefix .. 'flows', id)"
    ),
    Mutant(
        "a window that is over still locks",
        "adding",
        "if not other or ends and tonumber(ends) <= now then",
        "if not other then",
    ),
    Mutant(
        "an expired job still locks",
        "adding",
        "if not expires or tonumber(expires) > now or holder_of(prefix, other) then",
        "if true then",
    ),
    Mutant(
        "the message of a running job is replaced",
        "adding",
        " or holder_of(prefix, other) then return 'u' end",
        " then return 'u' end",
    ),
    Mutant(
        "a retry is put off",
        "adding",
        "if action == 'r' or call('HEXISTS', prefix .. 'faults', other) == 1 then",
        "if action == 'r' then",
    ),
    Mutant(
        "what is put off runs from its old place",
        "adding",
        "void_entry(prefix, other, call('HGET', prefix .. 'levels', other) or 'normal')",
    ),
    Mutant(
        "a window never begins",
        "adding",
        "call('ZADD', prefix .. 'windows', int(now + tonumber(window)), lock)",
    ),
    Mutant(
        "a lock ends with the window before it", "adding", "call('ZREM', prefix .. 'windows', lock)"
    ),
    Mutant(
        "a job waits at two levels",
        "set_priority",
        "if is_due and losses == 0 then void_entry(prefix, id, before) end",
    ),
    Mutant(
        "its process is not told of a cancellation",
        "cancel",
        "call('RPUSH', prefix .. 'poke:' .. holder, id)",
    ),
    Mutant("a cancellation is not noted", "cancel", "call('SADD', prefix .. 'cancelling', id)"),
    Mutant("a deleted job keeps its lock", "delete", "let_go(prefix, id, false, true)"),
    Mutant(
        "the last end of a member counts",
        "arrive",
        "call('HSETNX', key, member, ARGV[5])",
        "call('HSET', key, member, ARGV[5])",
    ),
    Mutant(
        "what ended again is not passed on",
        "onward",
        "if call('HGET', prefix .. 'onward', ARGV[at]) == ARGV[at + 1] then",
        "if true then",
    ),
    Mutant("a success leaves others held back", "ack", "let_others_on(prefix)"),
)
