"""Networks that somebody is in: their rules, their name server, and other firewalls told.

The rule that keeps it simple: a network is in use or it is not. It comes into use before its first container is plugged in, and
stays so for a moment after the last has left, because most often the next one comes at once.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from declarative.engine.networks.firewall import Zone
from declarative.engine.networks.neighbours import Neighbours
from declarative.engine.networks.records import BRIDGE, OPTION_ICC, OPTION_MASQUERADE, Network
from declarative.engine.networks.watch import Watch
from declarative.errors import DeclarativeError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from declarative.engine.networks.firewall import Firewall, Lead
    from declarative.engine.networks.later import Later
    from declarative.engine.networks.nftables import Nftables
    from declarative.engine.networks.records import Block
    from declarative.engine.networks.resolver import Resolver
    from declarative.engine.networks.wiring import Wiring

BRIDGE_PREFIX = "decl"
"""Of the default network's bridge: not docker0, so that a dockerd may be beside us."""

_ACCEPT = "accept there what comes from and goes to the engine's bridges (decl0, br-…)"
_LINGER_SECONDS = 1.0


class InUse:
    """The networks in use. `warn` is told of what goes wrong where nobody waits. Safe to use from several threads."""

    def __init__(
        self,
        wiring: Wiring,
        firewall: Firewall,
        nftables: Nftables,
        resolver: Resolver,
        later: Later,
        warn: Callable[[str, Exception], None],
    ) -> None:
        self._wiring = wiring
        self._firewall = firewall
        self._neighbours = Neighbours(nftables, firewall.table)
        self._resolver = resolver
        self._later = later
        self._warn = warn
        self._lock = threading.RLock()
        self._networks: dict[str, Network] = {}
        self._resting: set[str] = set()  # those that end in a moment, unless somebody comes
        self._watch: Watch | None = None
        self._strict: set[str] = set()  # chains that were warned of

    def fit(self, network: Network, move: Callable[[Network, Sequence[Block], str], Network]) -> Network:
        """Give the network fit for use: the default one moves where its bridge or subnet has become another's."""
        if network.name != BRIDGE or network.id in self._networks:
            return network
        taken = self._wiring.taken()
        foreign = self._wiring.is_foreign(network)
        if not foreign and not any(pool.overlaps(block) for pool in network.pools for block in taken):
            return network
        self._wiring.remove_bridge(network)
        return move(network, taken, self._wiring.free_bridge(BRIDGE_PREFIX) if foreign else network.link)

    def begin(self, network: Network) -> None:
        """Have a network ready for containers. Failed, Conflict."""
        with self._lock:
            self._resting.discard(network.id)
            self._wiring.raise_bridge(network)
            if self._networks.get(network.id) == network:
                return
            try:
                self._firewall.add_zone(self._zone(network))
                self._networks[network.id] = network
            except BaseException:
                self._end(network.id)
                raise
            self._pass_neighbours()
            if self._watch is None:
                self._watch = Watch(self._mend)

    def end(self, network: Network, *, at_once: bool = False) -> None:
        """Let a network rest: nobody is in it."""
        with self._lock:
            if network.id not in self._networks:
                return
            if at_once:
                self._end(network.id)
            else:
                self._resting.add(network.id)
                self._later.put(network.id, _LINGER_SECONDS, lambda: self._end_resting(network.id))

    def take_up(self, networks: Iterable[Network], leads: Iterable[Lead]) -> None:
        """Begin with what an earlier daemon left: just these networks in use, just these ports published."""
        with self._lock:
            self._networks = {network.id: network for network in networks}
            for network in self._networks.values():
                self._wiring.raise_bridge(network)
            self._firewall.replace([self._zone(network) for network in self._networks.values()], leads)
            self._pass_neighbours()
            if self._networks:
                self._watch = self._watch or Watch(self._mend)

    def close(self, *, erase: bool) -> None:
        """Stop watching and answering; `erase`: nobody is in any network, so that the rules go too."""
        with self._lock:
            if self._watch is not None:
                self._watch.close()
                self._watch = None
            if erase:
                for network_id in tuple(self._networks):
                    self._end(network_id)

    def _end_resting(self, network_id: str) -> None:
        with self._lock:
            if network_id in self._resting:  # nobody came meanwhile, not even while we waited for the lock
                self._end(network_id)

    def _end(self, network_id: str) -> None:
        with self._lock:
            self._resting.discard(network_id)
            network = self._networks.pop(network_id, None)
            self._resolver.leave(network_id)
            if network is None:
                return
            self._firewall.remove_zone(network.link)
            self._pass_neighbours()

    def _zone(self, network: Network) -> Zone:
        pool = network.pool4
        resolver = None
        if pool is not None and pool.gateway is not None and pool.gateway.version == 4:
            resolver = (pool.gateway, self._resolver.listen(network.id, pool.gateway))
        return Zone(
            link=network.link,
            subnets=tuple(pool.subnet for pool in network.pools),
            internal=network.internal,
            hidden=network.flag(OPTION_MASQUERADE, default=True),
            closed=not network.flag(OPTION_ICC, default=True),
            resolver=resolver,
        )

    def _pass_neighbours(self) -> None:
        """Have other firewalls let our bridges through. A container starts whatever comes of it: it may not need the way."""
        try:
            self._neighbours.let_through([network.link for network in self._networks.values()])
            for chain in self._neighbours.strict() - self._strict if self._networks else ():
                self._strict.add(chain)
                self._warn(
                    "another firewall drops packets of containers", Unsupported(chain, "drops by policy", _ACCEPT)
                )
        except (DeclarativeError, OSError) as error:
            self._warn("another firewall cannot be passed", error)

    def _mend(self) -> None:
        """See to it that our rules are there and do their work, after somebody changed theirs."""
        with self._lock:
            if self._networks:
                try:
                    self._firewall.mend()
                except (DeclarativeError, OSError) as error:
                    self._warn("the rules of networks cannot be mended", error)
                self._pass_neighbours()
