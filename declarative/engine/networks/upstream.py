"""Whom the resolver asks for what it does not know, and what /etc/resolv.conf of a container says.

The rule that keeps it simple: the machine's own /etc/resolv.conf is read again whenever it changes; text in, text out.
"""

from __future__ import annotations

import threading
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.engine.networks.records import BRIDGE
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from declarative.engine.networks.records import Network

_SERVERS_MAX = 3  # MAXNS of glibc
_NO_SEARCH = "."
LAST_RESORT = ("8.8.8.8", "8.8.4.4")
"""Of a machine without any name server, as dockerd has it."""


@record
class ResolvConf:
    """What a resolv.conf(5) says. `servers`: addresses; `search`: domains; `options`: such as `ndots:2`."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"nameserver {server}" for server in self.servers]
        lines += [f"search {' '.join(self.search)}"] if self.search else []
        lines += [f"options {' '.join(self.options)}"] if self.options else []
        return "".join(f"{line}\n" for line in lines)


def parse(text: str) -> ResolvConf:
    """Read the text of a resolv.conf; lines that mean nothing are passed over, as resolvers do."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver" and _is_address(words[1]):
            servers.append(words[1])
        elif words[0] in {"search", "domain"}:  # the last one counts
            search = tuple(words[1:])
        elif words[0] == "options":
            options += words[1:]
    return ResolvConf(servers=tuple(servers[:_SERVERS_MAX]), search=search, options=tuple(dict.fromkeys(options)))


class Upstream:
    """The machine's name servers, or those that the daemon was told. Safe to use from several threads."""

    def __init__(self, told: tuple[str, ...] = (), path: Path = Path("/etc/resolv.conf")) -> None:
        self._told = told
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int] | None = None
        self._conf = ResolvConf()

    def conf(self) -> ResolvConf:
        """Give what the machine's file says now."""
        with self._lock:
            try:
                status = self._path.stat()
                seen = (status.st_mtime_ns, status.st_ino)
                if seen != self._seen:
                    self._conf = parse(self._path.read_text(errors="replace"))
                    self._seen = seen
            except OSError:  # it may be about to be replaced: what was read last is better than nothing
                pass
            return self._conf

    def servers(self) -> tuple[str, ...]:
        """Give whom to ask from here."""
        return self._told or self.conf().servers or LAST_RESORT

    def reachable(self, *, ipv6: bool) -> tuple[str, ...]:
        """Give those that a container can ask by itself: a loopback address is the container's own there. May be none."""
        return tuple(
            server
            for server in self.servers()
            if not (address := ip_address(server.partition("%")[0])).is_loopback
            and (address.version == 4 or (ipv6 and not address.is_link_local))
        )

    def for_container(
        self, networks: Iterable[Network], dns: Sequence[str], search: Sequence[str], options: Sequence[str]
    ) -> ResolvConf:
        """Give what the file of a container in these networks says, the rest being what its user asked for.

        In a network that answers names it is our name server, which asks `dns` for the others, and takes every name, dots or not.
        """
        bridges = [network for network in networks if network.driver == BRIDGE and network.pool4 is not None]
        asked = next((str(network.pool4.gateway) for network in bridges if network.resolves and network.pool4), None)
        if asked is not None:
            servers: tuple[str, ...] = (asked,)
        elif dns or not bridges:
            servers = tuple(dns) or self.servers()
        else:
            pool = bridges[0].pool4
            servers = self.reachable(ipv6=bridges[0].ipv6) or ((str(pool.gateway),) if pool else ())
        conf = self.conf()
        domains = tuple(search)
        chosen = tuple(options) or conf.options
        if asked is not None and not any(option.startswith("ndots:") for option in chosen):
            chosen = (*chosen, "ndots:0")
        return ResolvConf(
            servers=servers, search=() if domains == (_NO_SEARCH,) else domains or conf.search, options=chosen
        )


def _is_address(text: str) -> bool:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
