"""What a person can say about an engine when it is started.

The rule that keeps it simple: each is an option of `declarative engine serve` with a default that suits most; there is no file.
Proxies alone are in the environment, where every program has them.
"""

from __future__ import annotations

from pathlib import Path

from declarative.engine.paths import Paths
from declarative.engine.runtime.sandbox import IdMaps
from declarative.record import field, record
from declarative.registry.proxies import Proxies
from declarative.registry.session import DOCKER_CERTS


@record
class Settings:
    """`mirrors`: registries asked before Docker Hub, as URLs. `insecure`: registries (HOST[:PORT]) spoken to without TLS.

    `certs`: a folder with certificates of registries, as /etc/docker/certs.d. `proxies`: to registries, and to what ADD fetches.
    `cgroup_parent`: the control group that holds the containers'. `pools`: (network, prefix length) that networks without a
    subnet are cut from, () for the engine's own. `nameservers`: of containers whose host has none that they can reach. `maps`: of
    the user namespaces of all containers that do not ask for the machine's; empty for none.
    """

    paths: Paths = field(default_factory=Paths)
    mirrors: tuple[str, ...] = ()
    insecure: tuple[str, ...] = ()
    certs: Path = Path(DOCKER_CERTS)
    proxies: Proxies = field(default_factory=Proxies)
    cgroup_parent: str = "declarative"
    pools: tuple[tuple[str, int], ...] = ()
    nameservers: tuple[str, ...] = ()
    maps: IdMaps = field(default_factory=IdMaps)
