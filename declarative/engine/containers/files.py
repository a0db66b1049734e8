"""The three files that every container is given: hosts, hostname, resolv.conf.

The rule that keeps it simple: text is made by pure functions; a file is written in place, never replaced, because a running
container has that very file mounted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_HEAD = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "ff00::0\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)
HOSTS, HOSTNAME, RESOLV = "hosts", "hostname", "resolv.conf"


def hosts_text(
    *,
    extra: Iterable[tuple[str, str]],
    links: Iterable[tuple[str, str]],
    addresses: Iterable[str],
    hostname: str,
    domain: str,
) -> str:
    """Write /etc/hosts. `extra`: (name, address) of `--add-host`; `links`: (names, address); `addresses`: the container's own."""
    own = _names(f"{hostname}.{domain}" if domain else hostname)
    lines = [f"{address}\t{name}\n" for name, address in extra]
    lines += [f"{address}\t{names}\n" for names, address in links]
    lines += [f"{address}\t{own}\n" for address in addresses if own]
    return _HEAD + "".join(lines)


def _names(full: str) -> str:
    """Give the full name and, where it has a domain, the bare one: programs that ask for `hostname -s` look that one up."""
    bare, dot, _ = full.partition(".")
    return f"{full} {bare}" if dot and bare else full


def write_in_place(path: Path, text: str) -> None:
    """Write a file without giving it another inode."""
    with path.open("r+" if path.exists() else "w", encoding="utf-8") as file:
        file.write(text)
        file.truncate()
