"""Networks that somebody is in: their rules, their name server, and other firewalls told.

The rule that keeps it simple: a network is in use or it is not. It comes into use before its first container is plugged in, and
stays so for a moment after the last has left, because most often the next one comes at once.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from declarative.engine.networks.firewall import Zone
from declarative.engine.networks.neighbours import Neighbours
from declarative.engine.networks.records import OPTION_ICC, OPTION_MASQUERADE, Network
from declarative.engine.networks.watch import Watch
from declarative.errors import DeclarativeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from declarative.engine.networks.firewall import Firewall, Lead
    from declarative.engine.networks.later import Later
    from declarative.engine.networks.nftables import Nftables
    from declarative.engine.networks.resolver import Resolver
    from declarative.engine.networks.upstream import Upstream
    from declarative.engine.networks.wiring import Wiring

_LINGER_SECONDS = 1.0


class InUse:
    """The networks in use. `warn` is told of what goes wrong where nobody waits. Safe to use from several threads."""

    def __init__(
        self,
        wiring: Wiring,
        firewall: Firewall,
        nftables: Nftables,
        resolver: Resolver,
        upstream: Upstream,
        later: Later,
        warn: Callable[[str, Exception], None],
    ) -> None:
        self._wiring = wiring
        self._firewall = firewall
        self._neighbours = Neighbours(nftables, firewall.table)
        self._resolver = resolver
        self._upstream = upstream
        self._later = later
        self._warn = warn
        self._lock = threading.RLock()
        self._networks: dict[str, Network] = {}
        self._watch: Watch | None = None

    def is_begun(self, network: Network) -> bool:
        """Whether a network is in use."""
        return network.id in self._networks

    def begin(self, network: Network) -> None:
        """Have a network ready for containers. Failed, Conflict."""
        with self._lock:
            self._later.cancel(network.id)
            self._wiring.raise_bridge(network)
            if self._networks.get(network.id) == network:
                return
            try:
                self._firewall.add_zone(self._zone(network))
                self._networks[network.id] = network
                self._neighbours.let_through(self._bridges())
            except BaseException:
                self._end(network.id)
                raise
            if self._watch is None:
                self._watch = Watch(self._mend)

    def end(self, network: Network, *, at_once: bool = False) -> None:
        """Let a network rest: nobody is in it."""
        with self._lock:
            if network.id not in self._networks:
                return
            if at_once:
                self._later.cancel(network.id)
                self._end(network.id)
            else:
                self._later.put(network.id, _LINGER_SECONDS, lambda: self._end(network.id))

    def take_up(self, networks: Iterable[Network], leads: Iterable[Lead]) -> None:
        """Begin with what an earlier daemon left: just these networks in use, just these ports published."""
        with self._lock:
            self._networks = {network.id: network for network in networks}
            for network in self._networks.values():
                self._wiring.raise_bridge(network)
            self._firewall.replace([self._zone(network) for network in self._networks.values()], leads)
            if self._networks:
                self._neighbours.let_through(self._bridges())
                self._watch = self._watch or Watch(self._mend)
            else:
                self._neighbours.leave()

    def close(self, *, erase: bool) -> None:
        """Stop watching and answering; `erase`: nobody is in any network, so that the rules go too."""
        with self._lock:
            if self._watch is not None:
                self._watch.close()
                self._watch = None
            if erase:
                for network_id in tuple(self._networks):
                    self._end(network_id)

    def answers(self, network: Network) -> bool:
        """Whether containers of a network ask our name server, and not the machine's own."""
        if network.resolves:
            return True
        return network.driver == "bridge" and not self._upstream.reachable(ipv6=network.ipv6)

    def _end(self, network_id: str) -> None:
        with self._lock:
            network = self._networks.pop(network_id, None)
            self._resolver.leave(network_id)
            if network is None:
                return
            self._firewall.remove_zone(network.link)
            if self._networks:
                self._neighbours.let_through(self._bridges())
            else:
                self._neighbours.leave()

    def _zone(self, network: Network) -> Zone:
        pool = network.pool4
        resolver = None
        if self.answers(network) and pool is not None and pool.gateway is not None and pool.gateway.version == 4:
            resolver = (pool.gateway, self._resolver.listen(network.id, pool.gateway))
        return Zone(
            link=network.link,
            subnets=tuple(pool.subnet for pool in network.pools),
            internal=network.internal,
            hidden=network.flag(OPTION_MASQUERADE, default=True),
            closed=not network.flag(OPTION_ICC, default=True),
            resolver=resolver,
        )

    def _bridges(self) -> list[str]:
        return [network.link for network in self._networks.values()]

    def _mend(self) -> None:
        """See to it that our rules are there and do their work, after somebody changed theirs."""
        try:
            with self._lock:
                if self._networks:
                    self._firewall.mend()
                    self._neighbours.let_through(self._bridges())
        except (DeclarativeError, OSError) as error:
            self._warn("rules after a change of others", error)
