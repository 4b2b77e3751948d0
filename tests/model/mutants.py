"""Single mutations of the Lua sources: each takes away one thing that the engine promises."""

from __future__ import annotations

from tests.model.mutant import Mutant
from tests.model.mutants_of_claims import CLAIMS
from tests.model.mutants_of_traits import TRAITS

MUTANTS = (
    Mutant(
        "no fence",
        "prelude",
        "local function owns(delivery, token) return delivery == token end",
        "local function owns(delivery, token) return delivery end",
    ),
    Mutant(
        "the fence forgets the time",
        "prelude",
        "return delivery == token end",
        "return delivery and string.match(delivery, '^%d+') == string.match(token, '^%d+') end",
    ),
    Mutant("ack not deduplicated", "ack", "if before[1] == request then return before[2] end"),
    Mutant("fail not deduplicated", "fail", "if before[1] == request then return before[2] end"),
    Mutant(
        "release not deduplicated", "release", "if before[1] == request then return before[2] end"
    ),
    Mutant(
        "no replay of a claim",
        "claim",
        "if last and tonumber(last) >= tonumber(first) then",
        "if false then",
    ),
    Mutant("an old claim is answered", "claim", "if last ~= first then", "if false then"),
    Mutant(
        "a replay begins one late",
        "claim",
        "(tonumber(sequence) or -1) - first + 1",
        "(tonumber(sequence) or -1) - first",
    ),
    Mutant(
        "no replay of a solo claim",
        "claim_solo",
        "if last and tonumber(last) >= tonumber(sequence) then",
        "if false then",
    ),
    Mutant(
        "a late solo claim takes another job",
        "claim_solo",
        "  return {0}\nend\nend_turn",
        "end\nend_turn",
    ),
    Mutant("a retry is lost", "fail", "put_off(prefix, 'retrying', id, now + delay)"),
    Mutant("a snooze counts as a retry", "fail", "'scheduled', id", "'retrying', id"),
    Mutant("a failure is not charged", "fail", "int(errors + 1)", "int(errors)"),
    Mutant("the failure is not kept", "fail", "if failure ~= '' then", "if false then"),
    Mutant(
        "given back to the wrong end",
        "traits",
        "if is_first then call('LPUSH', list, id) else call",
        "if is_first then call('RPUSH', list, id) else call",
    ),
    Mutant(
        "a plain job is given back to the wrong end",
        "release",
        "call('LPUSH', prefix .. lane(losses), id)",
        "call('RPUSH', prefix .. lane(losses), id)",
    ),
    Mutant(
        "given back in the wrong order",
        "release",
        "for index = #owned, 1, -1 do",
        "for index = 1, #owned do",
    ),
    Mutant(
        "giving back charges a loss",
        "release",
        "    released = released + 1",
        "    call('HSET', prefix .. 'faults', id, '0,1,0')\n    released = released + 1",
    ),
    Mutant("taken back to the wrong end", "upkeep", "call('RPUSH',", "call('LPUSH',"),
    Mutant("published at the wrong end", "publish", "'ready', unpack(ready))", "'solo', ready[1])"),
    Mutant(
        "one job published at the wrong end",
        "publish",
        "call('RPUSH', prefix .. 'ready', ARGV[5])",
        "call('LPUSH', prefix .. 'ready', ARGV[5])",
    ),
    Mutant("one loss alone too many", "upkeep", "solo >= SOLO_LOSSES", "solo > SOLO_LOSSES"),
    Mutant("isolated too late", "prelude", "losses < 3", "losses <= 3"),
    Mutant("a suspect is queued", "prelude", "if losses == 0 then", "if losses <= 1 then"),
    Mutant("a loss forgets errors", "upkeep", "'faults', id, int(errors)", "'faults', id, '0'"),
    Mutant(
        "a loss is not kept", "upkeep", "add_attempt(prefix, id,", "string.format('%s %s %s', '',"
    ),
    Mutant(
        "no grace after an outage",
        "prelude",
        "if now < seen or now - seen > lease / 2 then",
        "if now < seen then",
    ),
    Mutant("no grace for a clock set back", "prelude", "now < seen or ", ""),
    Mutant(
        "a grace leaves no note", "prelude", "call('SET', prefix .. 'grace', note, 'PX', 3600000)"
    ),
    Mutant("the note of a grace stays", "prelude", ", 'PX', 3600000)", ")"),
    Mutant("given_up is not set", "upkeep", "'given_up', '1'", "'given_out', '1'"),
    Mutant("running leases end", "upkeep", "'leases', '-inf', stamp", "'leases', '-inf', '+inf'"),
    Mutant("a process departs with jobs", "depart", "== 0 then", ">= 0 then"),
    Mutant("a departed process keeps the turn", "depart", "end_turn(prefix, holder)"),
    Mutant(
        "claims without a lease",
        "claim",
        "if not call('ZSCORE', prefix .. 'leases', holder) then",
        "if false then",
    ),
    Mutant(
        "due jobs are let on late", "claim", "tonumber(head[2]) > now", "tonumber(head[2]) >= now"
    ),
    Mutant(
        "suspects fill a process",
        "claim",
        "math.min(suspects, wanted), jobs, ids, special",
        "wanted, jobs, ids, special",
    ),
    Mutant("a ghost stays", "claim", "call('SREM', prefix .. 'ghosts', popped[index])"),
    Mutant("a solo ghost stays", "claim_solo", "call('SREM', prefix .. 'ghosts', id)"),
    Mutant("a cancelled job leaves no ghost", "cancel", "take_out(prefix, id)\n"),
    Mutant("a deleted job leaves no ghost", "delete", "take_out(prefix, id)\n"),
    Mutant(
        "an id used again runs from its old place",
        "traits",
        "call('LREM', ready_list(prefix, level), 0, id)",
        "0",
    ),
    Mutant("deleted from the wrong order", "delete", "S = 'succeeded'", "S = 'cancelled'"),
    Mutant(
        "a deleted id is still remembered", "delete", "call('ZREM', prefix .. 'remembered', id)"
    ),
    Mutant("solo tokens have no star", "claim_solo", "stamp .. '*'", "stamp"),
    Mutant(
        "two processes have the turn",
        "claim_solo",
        "local is_given = call('SET', prefix .. 'turn', turn, 'NX', ",
        "local is_given = call('SET', prefix .. 'turn', turn, ",
    ),
    Mutant("ack leaves faults", "ack", "call('HDEL', prefix .. 'faults', unpack(owned))"),
    Mutant(
        "death leaves faults",
        "endings",
        "call('ZADD', prefix .. 'dead', stamp, id)\n  call('HDEL', prefix .. 'faults', id)",
        "call('ZADD', prefix .. 'dead', stamp, id)",
    ),
    Mutant(
        "cancel leaves faults",
        "endings",
        "call('HDEL', prefix .. 'faults', id)\n  call('HSET', prefix .. 'jobs', id, text)",
        "call('HSET', prefix .. 'jobs', id, text)",
    ),
    Mutant("ack leaves history", "ack", "call('PEXPIRE', prefix .. 'history:' .. id, ARGV[5])"),
    Mutant(
        "death leaves history",
        "endings",
        "call('PEXPIRE', prefix .. 'history:' .. id, max_age)\n  if has_traits",
        "if has_traits",
    ),
    Mutant(
        "cancel leaves history",
        "endings",
        "call('PEXPIRE', prefix .. 'history:' .. id, max_age)\n  call('HINCRBY'",
        "call('HINCRBY'",
    ),
    Mutant(
        "attempts outlive their job",
        "endings",
        "if not string.find(records[index], '^[Ss]%d+,%-?%d+,%-?%d+,?r?$') then",
        "if false then",
    ),
    Mutant(
        "a redriven job loses its history", "redrive", "call('PERSIST', prefix .. 'history:' .. id)"
    ),
    Mutant("redriven and dead", "redrive", "call('ZREM', prefix .. 'dead', id)"),
    Mutant("redriven with its faults", "redrive", "id, '0,0,0')", "id, '1,0,0')"),
    Mutant("a redriven job wakes nobody", "redrive", "wake(prefix)"),
    Mutant("results stay", "ack", ", 'PX', ARGV[at + 1])", ")"),
    Mutant("a result is lost", "ack", "results[id] = given[index]"),
    Mutant(
        "a refused result is kept",
        "ack",
        "answers[index] = refusal(prefix, id)",
        "answers[index], results[id] = refusal(prefix, id), given[index]",
    ),
    Mutant(
        "calls of the given up stay",
        "upkeep",
        "call('PEXPIRE', prefix .. 'calls:' .. holder,",
        "local _ = (",
    ),
    Mutant(
        "calls of the forgotten stay",
        "prelude",
        "if not call('ZSCORE', prefix .. 'leases', holder) then call('PEXPIRE', calls, 600000) end",
    ),
    Mutant("calls of a new lease expire", "renew", "call('PERSIST', prefix .. 'calls:' .. holder)"),
    Mutant("a success is not announced", "ack", "announce(prefix, id)"),
    Mutant(
        "a death is not announced",
        "endings",
        "'D', reason)\n  end\n  announce(prefix, id)",
        "'D', reason)\n  end",
    ),
    Mutant(
        "a cancellation is not announced",
        "endings",
        "'C', reason or '')\n  end\n  announce(prefix, id)",
        "'C', reason or '')\n  end",
    ),
    Mutant(
        "trim ignores the least age",
        "endings",
        "age > min_age and passed < excess",
        "passed < excess",
    ),
    Mutant("trim takes one too many", "endings", "passed < excess", "passed <= excess"),
    Mutant("trim begins at the age itself", "endings", "age > max_age", "age >= max_age"),
    Mutant(
        "forgotten ids are not remembered",
        "endings",
        "if string.find(record, '^%l') then",
        "if false then",
    ),
    Mutant(
        "the dead are forgotten at once",
        "upkeep",
        "forget_dead(prefix, now - dead_age,",
        "forget_dead(prefix, now,",
    ),
    Mutant("one dead too many is kept", "upkeep", "- dead_count)", "- dead_count - 1)"),
    Mutant("remembered ids have no bound", "upkeep", "- id_count", "- 1000"),
    Mutant("one job over the limit", "publish", "elseif room <= 0 then", "elseif room < 0 then"),
    Mutant(
        "as many as fit, though all are needed", "publish", "if needed > room then", "if false then"
    ),
    Mutant(
        "known ids are needed room for", "publish", "needed = needed - 1", "needed = needed - 0"
    ),
    Mutant(
        "known ids are written over",
        "publish",
        "local known = call('HMGET', jobs, unpack(ids))",
        "local known = {}",
    ),
    Mutant("remembered ids run again", "publish", "or 0) > now", "or 0) > now + 1e15"),
    Mutant(
        "twice in one call is twice",
        "publish",
        "local is_known = known[index] or taken[id]",
        "local is_known = known[index]",
    ),
    Mutant(
        "an earlier time wakes nobody",
        "prelude",
        "if not head[2] or due < tonumber(head[2]) then wake(prefix) end",
    ),
    Mutant("an old result outlives its id", "publish", "if #outdated > 0 then", "if false then"),
    Mutant("running jobs are cancelled", "cancel", "if holder then", "if false then"),
    Mutant("running jobs are deleted", "delete", "if holder_of(prefix, id) then return 0 end"),
    Mutant(
        "the newest last",
        "list",
        "call('ZREVRANGE', prefix .. state",
        "call('ZRANGE', prefix .. state",
    ),
    Mutant(
        "a page begins one late", "list", "-skip - count, -skip - 1", "-skip - count - 1, -skip - 2"
    ),
    Mutant(
        "what waits for a time is queued",
        "prelude",
        "- finished - waiting - count_running",
        "- finished - count_running",
    ),
    Mutant(
        "an expired result is a success",
        "watch",
        "if record and (is_followed or not string.find(record, ',r$')) then",
        "if record then",
    ),
    *CLAIMS,
    *TRAITS,
)


def find(name: str) -> Mutant:
    """Return the mutant of that name."""
    return next(mutant for mutant in MUTANTS if mutant.name == name)
