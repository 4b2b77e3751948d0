"""Whether the user of Redis may do all that a pool does: asked before the first job is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.broker.cancellation import heeding_cancellation
from redispatcher_fastapi.broker.redis_errors import REDIS_ERRORS, translate
from redispatcher_fastapi.broker.scripts import (
    ACK,
    ARRIVE,
    CLAIM,
    CLAIM_SOLO,
    DEPART,
    FAIL,
    ONWARD,
    POKE,
    PUBLISH,
    RELEASE,
    RENEW,
    SCHEDULE_DECLARE,
    SCHEDULE_FIRE,
    SCHEDULE_LOOK,
    SCHEDULE_READ,
    UPKEEP,
    as_text,
)
from redispatcher_fastapi.errors import BrokerAccessError
from redispatcher_fastapi.keys import queue_prefix

if TYPE_CHECKING:
    from collections.abc import Collection

    from redispatcher_fastapi.broker.connection import Connections

_SCRIPTS = (
    *(ACK, ARRIVE, CLAIM, CLAIM_SOLO, DEPART, FAIL, ONWARD, POKE, PUBLISH, RELEASE, RENEW, UPKEEP),
    *(SCHEDULE_DECLARE, SCHEDULE_FIRE, SCHEDULE_LOOK, SCHEDULE_READ),
)
#: Everything that a pool's scripts may call, and what it sends beside them.
POOL_COMMANDS = sorted({"BLPOP", "HGETALL"}.union(*(script.commands for script in _SCRIPTS)))

# Redis 6.2 cannot be asked so. BLPOP takes its last argument for a time-out, the others for a key.
_PROBE = """
local missing = {}
if not redis.acl_check_cmd then return missing end
for _, prefix in ipairs(KEYS) do
  for _, command in ipairs(ARGV) do
    local words = {command, prefix}
    if command == 'BLPOP' then words[3] = '0' end
    local is_known, may = pcall(redis.acl_check_cmd, unpack(words))
    if is_known and not may then missing[#missing + 1] = command end
  end
  if #missing > 0 then return missing end
end
return missing
"""


async def check_rights(connections: Connections, queues: Collection[str]) -> None:
    """Check that nothing a pool of these queues may ever call is refused.

    A script that is refused half-way has done the first half.

    Raises:
        BrokerAccessError: something is; the message names the commands.
        BrokerError: Redis does not answer, or with something else.
    """
    if connections.is_memory:
        return
    client: Any = connections.publisher
    for group in [[queue] for queue in queues] if connections.is_cluster else [[*queues]]:
        prefixes = [queue_prefix(queue) for queue in group]
        try:
            missing = await heeding_cancellation(
                client.execute_command("EVAL", _PROBE, len(prefixes), *prefixes, *POOL_COMMANDS)
            )
        except REDIS_ERRORS as error:
            raise translate(error) from error
        if missing:
            names = ", ".join(map(as_text, missing))
            raise BrokerAccessError(
                f"This user of Redis may not use {names} on the keys and channels of "
                f"{', '.join(group)}, which a pool needs: see 'Permissions in Redis' in the "
                "reference."
            )
