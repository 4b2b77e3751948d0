"""The address of Redis: what can be written, and that no password is ever shown."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redispatcher_fastapi.dsn import Address, Dsn, Tls, parse_dsn
from redispatcher_fastapi.errors import ConfigurationError

SECRET = "hunter"


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_the_bare_scheme_means_localhost(scheme: str) -> None:
    dsn = parse_dsn(f"{scheme}://")

    assert dsn.addresses == (Address("localhost", 6379),)
    assert dsn.database == 0
    assert (dsn.tls is not None) == (scheme == "rediss")


@pytest.mark.parametrize(
    ("text", "address", "database"),
    [
        ("redis://example.org", Address("example.org", 6379), 0),
        ("redis://example.org:7000/", Address("example.org", 7000), 0),
        ("redis://:7000/3", Address("localhost", 7000), 3),
        ("redis://example.org?db=4", Address("example.org", 6379), 4),
        ("redis://[2001:db8::1]:7000/1", Address("2001:db8::1", 7000), 1),
        ("  REDIS://example.org\n", Address("example.org", 6379), 0),
    ],
)
def test_host_port_and_database_are_read(text: str, address: Address, database: int) -> None:
    dsn = parse_dsn(text)

    assert dsn.kind == "single"
    assert dsn.addresses == (address,)
    assert dsn.database == database


@pytest.mark.parametrize(
    ("text", "username", "password"),
    [
        ("redis://user:hunter2@h", "user", "hunter2"),
        ("redis://:hunter2@h", None, "hunter2"),
        ("redis://user@h", "user", None),
        ("redis://:a%40b%3Ac%2Fd@h", None, "a@b:c/d"),
        ("redis://:a@b:c@h", None, "a@b:c"),
        ("redis://:a+b@h", None, "a+b"),
        ("redis://h?password=a+b%26c&username=user", "user", "a+b&c"),
    ],
)
def test_credentials_are_decoded(text: str, username: str | None, password: str | None) -> None:
    dsn = parse_dsn(text)

    assert (dsn.username, dsn.password) == (username, password)
    assert dsn.addresses == (Address("h", 6379),)


@given(username=st.text(min_size=1), password=st.text(min_size=1))
def test_every_password_survives_percent_encoding_and_is_never_shown(
    username: str, password: str
) -> None:
    text = f"redis://{quote(username, safe='')}:{quote(password, safe='')}@h:1/0"
    dsn = parse_dsn(text)

    assert (dsn.username, dsn.password) == (username, password)
    assert str(dsn) == f"redis://{quote(username, safe='')}:***@h:1/0"


def test_a_unix_socket_has_a_path_and_may_have_a_database_and_credentials() -> None:
    dsn = parse_dsn("unix://user:hunter2@/run/redis%20one.sock?db=2")

    assert dsn.kind == "unix"
    assert dsn.name == "/run/redis one.sock"
    assert (dsn.username, dsn.password, dsn.database) == ("user", "hunter2", 2)


def test_sentinels_come_with_the_name_of_their_master() -> None:
    dsn = parse_dsn(
        "redis+sentinel://user:hunter2@h1:26380,h2/my-master/5?sentinel_password=hunter3"
    )

    assert dsn.kind == "sentinel"
    assert dsn.addresses == (Address("h1", 26380), Address("h2", 26379))
    assert (dsn.name, dsn.database) == ("my-master", 5)
    assert (dsn.username, dsn.password) == ("user", "hunter2")
    assert (dsn.sentinel_username, dsn.sentinel_password) == (None, "hunter3")


def test_a_cluster_may_name_several_nodes() -> None:
    dsn = parse_dsn("rediss+cluster://h1:7001,h2:7002")

    assert dsn.kind == "cluster"
    assert dsn.addresses == (Address("h1", 7001), Address("h2", 7002))
    assert dsn.tls == Tls()


def test_memory_may_have_a_name() -> None:
    assert parse_dsn("memory://").name == ""
    assert parse_dsn("memory://tests").name == "tests"
    assert parse_dsn("memory://tests").kind == "memory"


def test_certificates_are_checked_unless_told_otherwise() -> None:
    assert parse_dsn("rediss://h").tls == Tls(cert_reqs="required", check_hostname=True)
    assert parse_dsn("rediss://h?ssl_cert_reqs=none").tls == Tls(
        cert_reqs="none", check_hostname=False
    )
    assert parse_dsn("rediss://h?ssl_check_hostname=false&ssl_ca_certs=/ca.pem").tls == Tls(
        ca_certs="/ca.pem", check_hostname=False
    )


def test_options_of_the_connection_are_read() -> None:
    dsn = parse_dsn("redis://h?protocol=3&max_connections=7&client_name=app")

    assert (dsn.protocol, dsn.max_connections, dsn.client_name) == (3, 7, "app")


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "SCHEME://"),
        ("localhost:6379", "has no scheme: write redis://localhost:6379/0"),
        ("redis:/localhost", "SCHEME://"),
        ("http://localhost", "redis://.*memory://"),
        ("redis://h#fragment", "percent-encode"),
        ("redis://h:port", "HOST:PORT"),
        ("redis://h:0", "HOST:PORT"),
        ("redis://h:65536", "HOST:PORT"),
        ("redis://h/zero", "whole number"),
        ("redis://h/0?db=1", "database twice"),
        ("redis://h1,h2", "several hosts"),
        ("redis://u:p@h?password=q", "twice"),
        ("redis://h?db=1&db=2", "twice"),
        ("redis://h?retries=5", "'retries'; allowed are client_name, db"),
        ("redis://h?ssl_cert_reqs=none", "'ssl_cert_reqs'"),
        ("rediss://h?ssl_cert_reqs=optional", "'required' or 'none'"),
        ("rediss://h?ssl_check_hostname=maybe", "'true' or 'false'"),
        ("redis://h?protocol=4", "2 or 3"),
        ("redis://h?max_connections=0", "from 1"),
        ("redis+cluster://h/1", "only database 0"),
        ("redis+cluster://h?db=1", "no option 'db'"),
        ("redis+sentinel://", "names the sentinels and the master"),
        ("redis+sentinel://h:26379", "names the sentinels and the master"),
        ("redis+sentinel:///my-master", "names the sentinels and the master"),
        ("redis://h?sentinel_password=x", "'sentinel_password'"),
        ("unix://", "absolute path"),
        ("unix://run/redis.sock", "absolute path"),
        ("memory://name/0", "memory://NAME"),
        ("memory://?db=0", "takes none"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_is_allowed(text: str, advice: str) -> None:
    with pytest.raises(ConfigurationError, match=advice):
        parse_dsn(text)


@pytest.mark.parametrize(
    "text",
    [
        f"redis://user:{SECRET}@h/0",
        f"redis://h?password={SECRET}",
        f"redis://{SECRET}@h",  # a password in the user name's place
        f"unix://:{SECRET}@/run/redis.sock",
        f"redis+sentinel://:{SECRET}@h/m?sentinel_password={SECRET}",
        f"rediss+cluster://user:{SECRET}@h1,h2",
    ],
)
def test_no_rendering_shows_a_secret(text: str) -> None:
    dsn = parse_dsn(text)

    assert SECRET not in f"{dsn} {dsn!r} {[dsn]}"
    assert "***" in str(dsn)


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f"{SECRET}://h",
        f":{SECRET}@h:6379",
        f"redis//:{SECRET}@h",
        f"redis://:{SECRET}#x@h",
        f"redis://:x#{SECRET}@h",
        f"redis://:x/{SECRET}@h/0",
        f"redis://:x?{SECRET}@h",
        f"redis://:x?{SECRET}=y@h",
        f"redis://user:{SECRET}@h:port",
        f"redis://user:{SECRET}@h?nope=1",
        f"redis://user:x@h?{SECRET}2",
        f"redis://h?sentinel=x@{SECRET}",
        f"redis://h?protocol={SECRET}",
        f"rediss://h?ssl_cert_reqs={SECRET}",
        f"memory://:{SECRET}@h",
        f"redis://h/{SECRET}",
    ],
)
def test_no_error_shows_a_secret_even_where_it_was_put_in_the_wrong_place(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_dsn(text)

    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@given(st.text())
def test_any_text_is_either_an_address_or_a_configuration_error(text: str) -> None:
    for candidate in (text, f"redis://{text}", f"redis+sentinel://{text}", f"unix://{text}"):
        with suppress(ConfigurationError):
            assert isinstance(parse_dsn(candidate), Dsn)


def test_equal_texts_give_equal_addresses() -> None:
    assert parse_dsn("redis://u:p@h/1") == parse_dsn("redis://u:p@h:6379/1")
    assert parse_dsn("redis://u:p@h/1") != parse_dsn("redis://u:q@h/1")


@pytest.mark.parametrize(
    "text",
    ["redis://hunter2@h:1@other", "redis+cluster://hunter2@[::1]:7@h", "redis://:hunter2@h@"],
)
def test_what_stands_before_a_second_at_sign_is_not_shown(text: str) -> None:
    assert SECRET not in str(parse_dsn(text))
