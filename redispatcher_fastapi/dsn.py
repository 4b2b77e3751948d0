"""The address of Redis: one text, read once, and never shown with its secrets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from urllib.parse import unquote

from redispatcher_fastapi.errors import ConfigurationError

Kind = Literal["single", "unix", "sentinel", "cluster", "memory"]

_SCHEMES: dict[str, tuple[Kind, bool]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "unix": ("unix", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
    "memory": ("memory", False),
}
#: Of each pool. Commands share connections; each wait for a result holds one of its own.
MAX_CONNECTIONS = 1000
_CONNECTION_OPTIONS = frozenset(
    {"username", "password", "protocol", "max_connections", "client_name"}
)
_TLS_OPTIONS = frozenset(
    {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"}
)
_SENTINEL_OPTIONS = frozenset({"sentinel_username", "sentinel_password"})
_SECRET_OPTIONS = frozenset({"password", "sentinel_password"})
_FORM = re.compile(
    r"(?P<scheme>[^:/?#]+)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?"
)
_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)]|(?P<host>[^\[\]:]*))(?::(?P<port>[0-9]{1,5}))?")


class Address(NamedTuple):
    """Where one server listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Tls:
    """How a server's certificate is checked, and the client's own certificate."""

    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    cert_reqs: Literal["required", "none"] = "required"
    check_hostname: bool = True


@dataclass(frozen=True, slots=True, repr=False)
class Dsn:
    """A parsed address. ``str()`` and ``repr()`` show everything but the passwords."""

    scheme: str
    kind: Kind
    addresses: tuple[Address, ...] = ()
    #: The socket's path, the name of the Sentinel master or of the in-memory server.
    name: str = ""
    database: int = 0
    username: str | None = None
    password: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    tls: Tls | None = None
    protocol: Literal[2, 3] = 2
    max_connections: int = MAX_CONNECTIONS
    client_name: str | None = None
    _redacted: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self._redacted

    def __repr__(self) -> str:
        return f"Dsn({self._redacted!r})"


def parse_dsn(text: str) -> Dsn:
    """Return the address that ``text`` describes.

    User names, passwords, names and option values are percent-decoded; ``+`` stands for itself.

    Raises:
        ConfigurationError: what is wrong and what is allowed, without any part of the text that
            could be a secret.
    """
    parts = _FORM.fullmatch(text.strip())
    if parts is None:
        raise _malformed(text)
    scheme, path = parts["scheme"].lower(), parts["path"]
    if scheme not in _SCHEMES:
        raise ConfigurationError(
            "The Redis DSN has an unknown scheme; use one of "
            f"{', '.join(f'{name}://' for name in _SCHEMES)}."
        )
    kind, has_tls = _SCHEMES[scheme]
    userinfo, at_sign, hosts = parts["authority"].rpartition("@")
    if not at_sign and "@" in f"{'' if kind == 'unix' else path}{parts['query'] or ''}":
        raise _malformed(text)  # a password with a '/' or a '?': the rest of it must not be shown
    options = _parse_options(parts["query"] or "", scheme=scheme, kind=kind, has_tls=has_tls)
    username, password = _parse_userinfo(userinfo, options)
    if kind == "memory":
        if at_sign or path.strip("/"):
            raise ConfigurationError(
                "An in-memory DSN is memory:// or memory://NAME, nothing more."
            )
        return Dsn(scheme, kind, name=unquote(hosts), _redacted=f"memory://{hosts}")
    addresses, name, database_text = _parse_place(kind, hosts, path)
    tls = _parse_tls(options) if has_tls else None
    return Dsn(
        scheme,
        kind,
        addresses=addresses,
        name=name,
        database=_parse_database(kind, database_text, options),
        username=username,
        password=password,
        sentinel_username=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
        tls=tls,
        protocol=_parse_protocol(options.get("protocol", "2")),
        max_connections=_parse_count(
            "max_connections", options.get("max_connections", str(MAX_CONNECTIONS))
        ),
        client_name=options.get("client_name"),
        _redacted=_redact(scheme, userinfo, hosts, path, options),
    )


def _malformed(text: str) -> ConfigurationError:
    has_scheme = "://" in text
    return ConfigurationError(
        f"The Redis DSN {'cannot be read' if has_scheme else 'has no scheme'}: write "
        f"{'' if has_scheme else 'redis://localhost:6379/0, or '}"
        "SCHEME://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE and percent-encode ':', '/', '?', "
        "'#', '@' and '%' in user name and password."
    )


def _parse_options(query: str, *, scheme: str, kind: Kind, has_tls: bool) -> dict[str, str]:
    allowed = frozenset[str]() if kind == "memory" else _CONNECTION_OPTIONS
    if has_tls:
        allowed |= _TLS_OPTIONS
    if kind == "sentinel":
        allowed |= _SENTINEL_OPTIONS
    if kind in {"single", "unix", "sentinel"}:
        allowed |= {"db"}
    options: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        option, _, value = pair.partition("=")
        if option not in allowed:
            shown = f" {option!r}" if re.fullmatch(r"[a-z_]{1,40}", option) else ""
            known = f"allowed are {', '.join(sorted(allowed))}" if allowed else "it takes none"
            raise ConfigurationError(f"A {scheme}:// DSN has no option{shown}; {known}.")
        if option in options:
            raise ConfigurationError(f"The Redis DSN gives the option {option!r} twice.")
        options[option] = unquote(value)
    return options


def _parse_userinfo(userinfo: str, options: dict[str, str]) -> tuple[str | None, str | None]:
    username, _, password = (unquote(part) for part in userinfo.partition(":"))
    if (username and "username" in options) or (password and "password" in options):
        raise ConfigurationError(
            "The Redis DSN gives the user name or the password twice: before '@' and as an option."
        )
    return username or options.get("username") or None, password or options.get("password") or None


def _parse_place(kind: Kind, hosts: str, path: str) -> tuple[tuple[Address, ...], str, str]:
    """Return addresses, name (of socket or master) and the text of the database number."""
    if kind == "unix":
        if hosts or not path.strip("/"):
            raise ConfigurationError(
                "A socket's DSN needs an absolute path: unix:///path/to/redis.sock."
            )
        return (), unquote(path), ""
    port = 26379 if kind == "sentinel" else 6379
    addresses = tuple(_parse_address(host, port) for host in hosts.split(","))
    if kind == "single" and len(addresses) > 1:
        raise ConfigurationError(
            "This Redis DSN names several hosts; that takes redis+sentinel:// or redis+cluster://."
        )
    if kind != "sentinel":
        return addresses, "", path.strip("/")
    master, _, database = path.strip("/").partition("/")
    if not hosts or not master:
        raise ConfigurationError(
            "A Sentinel DSN names the sentinels and the master: "
            "redis+sentinel://HOST:26379,HOST:26379/MASTER/DATABASE."
        )
    return addresses, unquote(master), database


def _parse_address(text: str, default_port: int) -> Address:
    parts = _HOST.fullmatch(text)
    port = int(parts["port"] or default_port) if parts else 0
    if parts is None or not 0 < port < 65536:
        raise ConfigurationError(
            "The Redis DSN has a host or port that cannot be read; write HOST, HOST:PORT or "
            "[IPV6]:PORT, and percent-encode special characters in user name and password."
        )
    return Address(parts["v6"] or unquote(parts["host"]) or "localhost", port)


def _parse_database(kind: Kind, text: str, options: dict[str, str]) -> int:
    if text and "db" in options:
        raise ConfigurationError("The Redis DSN gives the database twice: in its path and as 'db'.")
    number = text or options.get("db") or "0"
    if not re.fullmatch(r"[0-9]{1,6}", number):
        raise ConfigurationError(
            "The database in the Redis DSN must be a whole number, as in redis://HOST/0."
        )
    if kind == "cluster" and int(number):
        raise ConfigurationError(
            "A Redis Cluster has only database 0; leave the number out of the DSN."
        )
    return int(number)


def _parse_protocol(text: str) -> Literal[2, 3]:
    match text:
        case "2":
            return 2
        case "3":
            return 3
        case _:
            raise ConfigurationError("The option 'protocol' of the Redis DSN must be 2 or 3.")


def _parse_count(option: str, text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,5}", text):
        raise ConfigurationError(
            f"The option {option!r} of the Redis DSN must be a whole number from 1."
        )
    return int(text)


def _parse_tls(options: dict[str, str]) -> Tls:
    cert_reqs = options.get("ssl_cert_reqs", "required")
    if cert_reqs not in {"required", "none"}:
        raise ConfigurationError(
            "The option 'ssl_cert_reqs' of the Redis DSN must be 'required' or 'none'."
        )
    check_hostname = options.get("ssl_check_hostname", "true").lower()
    if check_hostname not in {"true", "false"}:
        raise ConfigurationError(
            "The option 'ssl_check_hostname' of the Redis DSN must be 'true' or 'false'."
        )
    is_verified = cert_reqs == "required"
    return Tls(
        ca_certs=options.get("ssl_ca_certs"),
        certfile=options.get("ssl_certfile"),
        keyfile=options.get("ssl_keyfile"),
        cert_reqs="required" if is_verified else "none",
        check_hostname=is_verified and check_hostname == "true",
    )


def _redact(scheme: str, userinfo: str, hosts: str, path: str, options: dict[str, str]) -> str:
    # Without a colon, or with another '@', it may be a password in the wrong place.
    username, colon, _ = userinfo.partition(":")
    shown = f"{username}:***@" if colon and "@" not in username else "***@" if userinfo else ""
    query = "&".join(
        f"{option}={'***' if option in _SECRET_OPTIONS else value}"
        for option, value in options.items()
    )
    return f"{scheme}://{shown}{hosts}{path}{f'?{query}' if query else ''}"
