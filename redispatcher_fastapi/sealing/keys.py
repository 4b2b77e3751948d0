"""Reads what users give as keys: ids that may be seen, secrets that may not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from redispatcher_fastapi.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

#: What a key id looks like, also inside of a message.
KEY_ID = r"[A-Za-z0-9._-]{1,64}"

#: How to make a key that is good for both signing and encrypting.
MAKE_KEY = "python -c 'import secrets; print(secrets.token_urlsafe(32))'"


def read_keys(
    kind: str, keys: Mapping[str, SecretStr | str], read: Callable[[str], bytes | None]
) -> dict[str, bytes]:
    """Return the keys as bytes, in the given order; ``read`` answers ``None`` for a bad one.

    Raises:
        ConfigurationError: there is no key, or one of them cannot be used; shows no secret.
    """
    unchecked: Any = keys
    if not isinstance(unchecked, Mapping):
        raise ConfigurationError(
            f"{kind} takes {{id: key}}, as in {kind}({{'2026-01': key}}), not "
            f"{type(unchecked).__qualname__}."
        )
    given: dict[Any, Any] = dict(keys)
    if not given:
        raise ConfigurationError(f"{kind} needs a key at least: {kind}({{'2026-01': key}}).")
    read_ones: dict[str, bytes] = {}
    for key_id, secret in given.items():
        if not isinstance(key_id, str) or not re.fullmatch(KEY_ID, key_id):
            raise ConfigurationError(
                f"{key_id!r:.80} cannot be the id of a key of {kind}: use 1 to 64 letters, digits, "
                "'.', '_' or '-'. Ids stand in messages and are no secret."
            )
        text = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
        key = read(text) if isinstance(text, str) else None
        if key is None:
            raise ConfigurationError(
                f"The key {key_id!r} of {kind} cannot be used: it must be a text or a SecretStr "
                f"made of 32 random bytes, such as {MAKE_KEY} prints."
            )
        read_ones[key_id] = key
    return read_ones
