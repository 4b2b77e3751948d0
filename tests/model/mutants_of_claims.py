"""Single mutations of how limits keep jobs from starting, and of which job is the next."""

from __future__ import annotations

from tests.model.mutant import Mutant

CLAIMS = (
    Mutant(
        "limits of an operator do not count",
        "limits",
        "call('HGET', prefix .. 'control', 'limits') or text",
        "text",
    ),
    Mutant(
        "a rate begins one late", "limits", "'(' .. int(now - rate.span)", "int(now - rate.span)"
    ),
    Mutant(
        "a rate allows one more",
        "limits",
        "rate.count - call('ZCOUNT'",
        "rate.count + 1 - call('ZCOUNT'",
    ),
    Mutant(
        "starts are forgotten too soon",
        "limits",
        "span = math.max(span, rate.span)",
        "span = rate.span",
    ),
    Mutant("starts stay", "limits", "call('PEXPIRE', starts, int(span))"),
    Mutant("a pause never ends", "limits", "if ends ~= -1 and ends <= now then ends = nil end"),
    Mutant(
        "a rest of the queue does not count",
        "limits",
        "if rest > now and ends ~= -1 then",
        "if false then",
    ),
    Mutant(
        "no place is kept for who runs alone",
        "limits",
        "and call('EXISTS', prefix .. 'turn') == 1 then",
        "and false then",
    ),
    Mutant(
        "one more runs",
        "limits",
        "rules.running - count_running(prefix)",
        "rules.running + 1 - count_running(prefix)",
    ),
    Mutant(
        "nobody knows when the next may start",
        "limits",
        "next_at = math.max(next_at, tonumber(oldest[2] or now) + rate.span)",
    ),
    Mutant(
        "a full partition is served",
        "special",
        "if rules.slots and used >= rules.slots then",
        "if false then",
    ),
    Mutant("a partition starts too often", "special", "elseif free == 0 then", "elseif false then"),
    Mutant(
        "starts of a partition are not noted",
        "special",
        "note_starts(prefix .. 'starts:' .. key, rules.partition_rates, {id})",
    ),
    Mutant("starts are not noted", "special", "note_starts(prefix .. 'starts', rules.rates, ids)"),
    Mutant(
        "an expired job starts",
        "special",
        "if expires and tonumber(expires) <= now then",
        "if false then",
    ),
    Mutant(
        "a job that started expires",
        "special",
        "if expires then call('ZREM', prefix .. 'expiries', id) end",
    ),
    Mutant(
        "a lock of who waits outlives the wait",
        "special",
        "== 119 then unlock(prefix, id) end",
        "== 119 then end",
    ),
    Mutant(
        "what was moved starts twice",
        "special",
        "if marks.moved and call('SREM', prefix .. 'moved', level .. ':' .. id) == 1 then",
        "if false then",
    ),
    Mutant(
        "an ordered job that is due is the last",
        "special",
        "requeue(id) queue_up(prefix, id, free_slot(prefix, id) ~= nil)",
        "requeue(id) free_slot(prefix, id) queue_up(prefix, id)",
    ),
    Mutant("a rest never ends", "special", "      call('ZREM', prefix .. 'resting', key)\n"),
    Mutant(
        "the low before the high",
        "special",
        "local level = ({'high', 'normal', 'low'})[band]",
        "local level = ({'low', 'normal', 'high'})[band]",
    ),
    Mutant(
        "nobody is held back", "special", "call('SET', prefix .. 'held_back', '1', 'PX', 60000)"
    ),
    Mutant(
        "nobody knows when a rest ends",
        "special",
        "if rests and (not due or rests < due) then due = rests end",
    ),
    Mutant(
        "nobody hears of a cancellation",
        "claim",
        "stamp, special.list_cancelled(), is_paused",
        "stamp, {}, is_paused",
    ),
    Mutant(
        "lost jobs of partitions fill a process",
        "special",
        "losses > 0 and losses < 3 and lost >= suspects then",
        "false then",
    ),
    Mutant(
        "lost jobs of partitions are not isolated",
        "special",
        "if losses >= 3 then",
        "if false then",
    ),
    Mutant(
        "a partition whose lost job is gone waits",
        "special",
        "for band = 0, 3 do",
        "for band = marks.faults and 0 or 1, 3 do",
    ),
    Mutant(
        "a start alone is not noted",
        "claim_solo",
        "note_starts(prefix .. 'starts', rules.rates, {id})",
    ),
    Mutant(
        "one runs alone beside too many",
        "claim_solo",
        "if rules.running and count_running(prefix) >= rules.running or",
        "if",
    ),
    Mutant(
        "one runs alone in spite of a pause",
        "claim_solo",
        "if waiting == 0 or stopped_until(prefix) then",
        "if waiting == 0 then",
    ),
    Mutant(
        "new limits end a rest that was asked for",
        "set_limits",
        "if tonumber(resting[index + 1]) % 1 == 0 then",
        "if true then",
    ),
    Mutant(
        "new limits let full partitions wait",
        "set_limits",
        "for _, key in ipairs(used) do offer(prefix, key) end",
    ),
    Mutant(
        "a resumed queue wakes nobody",
        "pause",
        "  wake(prefix)\n  return was_paused",
        "  return was_paused",
    ),
)
