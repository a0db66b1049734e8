"""The network of the commands of one stage: a namespace that is made when the first of them runs, and what they resolve names by.

The rule that keeps it simple: one namespace for a stage, since its commands run one after the other; it goes with the stage.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.engine.networks.records import BRIDGE, HOST, NONE, EndpointRequest
from declarative.errors import Invalid, Unsupported

if TYPE_CHECKING:
    from declarative.engine.build import commands as c
    from declarative.engine.build.site import Site
    from declarative.engine.runtime.sandbox import Shared

_CONTAINER = "container:"
_RESOLV = Path("/etc/resolv.conf")
_HOSTS = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "ff00::0\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)


class RunNetwork:
    """The network of one stage's commands."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._id = site.new_id()
        self._lock = threading.Lock()
        self._opened: Path | None = None
        self._address = ""

    def mode(self, step: c.Run) -> str:
        """Give what a RUN asks for: none, host, container:NAME, or the name of a network. Invalid for anything else."""
        asked = self._site.request.network
        asked = BRIDGE if asked in ("", "default") else asked
        if step.network in ("", "default"):
            return asked
        if step.network == HOST and asked != HOST:
            remedy = "allow it for the whole build: docker build --network host"
            raise Invalid("", "RUN --network=host is not allowed here", remedy, str(step.span))
        return step.network

    def namespace(self, mode: str) -> Shared:
        """Give the namespace for a command. NotFound for a network or container that is not there, Failed."""
        if mode == NONE:
            return "private"
        if mode == HOST:
            return "host"
        if mode.startswith(_CONTAINER):
            return Path(f"/proc/{self._site.parts.container(mode.removeprefix(_CONTAINER))}/ns/net")
        with self._lock:
            if self._opened is None:
                networks = self._site.parts.networks
                opened = networks.open_namespace(self._id)
                try:
                    endpoint = networks.connect(self._id, mode, EndpointRequest())
                except BaseException:
                    networks.close_namespace(self._id)
                    raise
                self._opened = opened
                self._address = str(endpoint.ipv4 or "")
            return self._opened

    def files(self, mode: str, hostname: str) -> dict[str, str]:
        """Give what is to be in /etc/hosts, /etc/hostname and /etc/resolv.conf."""
        self.namespace(mode)
        hosts = _HOSTS
        for entry in self._site.request.extra_hosts:
            name, _, address = entry.partition(":")
            hosts += f"{self._gateway() if address == 'host-gateway' else address}\t{name}\n"
        if self._address and mode not in (NONE, HOST):
            hosts += f"{self._address}\t{hostname}\n"
        return {"hosts": hosts, "hostname": f"{hostname}\n", "resolv.conf": self._resolv_conf(mode)}

    def close(self) -> None:
        """Let the namespace go."""
        with self._lock:
            if self._opened is not None:
                self._site.parts.networks.close_namespace(self._id)
                self._opened = None

    def _resolv_conf(self, mode: str) -> str:
        if mode in (NONE, HOST) or mode.startswith(_CONTAINER):
            return _RESOLV.read_text() if _RESOLV.exists() else ""
        return self._site.parts.networks.resolv_conf(self._id)

    def _gateway(self) -> str:
        network = self._site.parts.networks.get(BRIDGE)
        gateways = [str(pool.gateway) for pool in network.pools if pool.gateway is not None]
        if not gateways:
            raise Unsupported("--add-host", "the default network has no gateway for host-gateway")
        return gateways[0]
