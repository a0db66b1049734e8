"""What a build is asked for.

The rule that keeps it simple: everything that the client said, typed, and nothing that was looked up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.runtime.sandbox import DEFAULT_SHM_SIZE, Resources, Rlimit
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.oci.platform import Platform
    from declarative.oci.reference import Reference
    from declarative.registry.credentials import Credential

DOCKERFILE = "Dockerfile"


@record
class BuildRequest:
    """One build. `remote`: where the context comes from, "" for the request's body.

    `network`: of RUN, as `docker build --network` has it. `extra_hosts` as NAME:ADDRESS. `secrets` by their ids. `credentials`
    by registry. `remove`, `force_remove`: whether it is told that a step's container is removed, also where it failed (there is
    none that stays). `resources` and `rlimits` hold for each RUN. `shm_size` in bytes.
    """

    tags: tuple[Reference, ...] = ()
    dockerfile: str = DOCKERFILE
    remote: str = ""
    target: str = ""
    args: Mapping[str, str] = field(default_factory=dict, hash=False)
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    network: str = ""
    extra_hosts: tuple[str, ...] = ()
    no_cache: bool = False
    pull: bool = False
    quiet: bool = False
    remove: bool = True
    force_remove: bool = False
    cache_from: tuple[str, ...] = ()
    platform: Platform | None = None
    shm_size: int = DEFAULT_SHM_SIZE
    resources: Resources = field(default_factory=Resources)
    rlimits: tuple[Rlimit, ...] = ()
    cgroup_parent: str = ""
    secrets: Mapping[str, bytes] = field(default_factory=dict, hash=False, repr=False)
    credentials: Mapping[str, Credential] = field(default_factory=dict, hash=False, repr=False)
