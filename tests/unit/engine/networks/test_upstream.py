"""resolv.conf: read as resolvers read it, and read again when it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from declarative.engine.networks.upstream import LAST_RESORT, ResolvConf, Upstream, parse

if TYPE_CHECKING:
    from pathlib import Path


def test_reading() -> None:
    text = """
# by somebody
nameserver 10.0.0.1 # the first
 nameserver   fe80::1%eth0
nameserver nonsense
domain old.example
search a.example b.example
options ndots:2 timeout:1
options ndots:2 rotate
nameserver 10.0.0.2
nameserver 10.0.0.3
sortlist 1.2.3.4
nameserver
"""
    assert parse(text) == ResolvConf(
        servers=("10.0.0.1", "fe80::1%eth0", "10.0.0.2"),
        search=("a.example", "b.example"),
        options=("ndots:2", "timeout:1", "rotate"),
    )


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    conf = parse(text)
    assert parse(str(conf)) == conf


def test_a_change_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    upstream = Upstream(path=path)
    assert upstream.servers() == LAST_RESORT
    path.write_text("nameserver 10.0.0.1\n")
    assert upstream.servers() == ("10.0.0.1",)
    other = tmp_path / "new"
    other.write_text("nameserver 10.0.0.2\n")
    other.rename(path)
    assert upstream.servers() == ("10.0.0.2",)
    path.unlink()
    assert upstream.servers() == ("10.0.0.2",), "it is about to be written again"
    assert Upstream(("10.9.9.9",), path).servers() == ("10.9.9.9",)


def test_what_a_container_can_ask_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 127.0.0.53\nnameserver 2001:db8::1\nnameserver 10.0.0.1\n")
    upstream = Upstream(path=path)
    assert upstream.reachable(ipv6=False) == ("10.0.0.1",)
    assert upstream.reachable(ipv6=True) == ("2001:db8::1", "10.0.0.1")
    path.write_text("nameserver ::1\n")
    assert upstream.reachable(ipv6=True) == ()
