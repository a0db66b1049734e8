"""The registries that the engine talks to: one client for each registry and login, and mirrors that are asked first.

The rule that keeps it simple: a client is kept while it works, with its connections and tokens; after an error a new one is
made. Plain HTTP is for loopback and for what is configured as insecure.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from declarative.oci.reference import DEFAULT_DOMAIN
from declarative.record import field, record, replace
from declarative.registry.client import RegistryClient
from declarative.registry.retry import RetryPolicy
from declarative.registry.session import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.oci.reference import Reference
    from declarative.registry.credentials import Credential

_MOST_KEPT = 16
"""Clients kept with idle connections: one for each registry and login of a busy machine, and few more."""


@record
class RegistrySettings:
    """How registries are reached. `mirrors` are asked before their registry; addresses, with a scheme or without."""

    session: Settings = field(default_factory=Settings)
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    retry: RetryPolicy = field(default_factory=RetryPolicy)


@record
class Origin:
    """Where an image may be fetched: a client, and the image's name there."""

    client: RegistryClient
    reference: Reference


class Registries:
    """The clients. Safe to use from several threads."""

    def __init__(self, settings: RegistrySettings | None = None) -> None:
        self.settings = settings or RegistrySettings()
        insecure = {_host(mirror) for mirrors in self.settings.mirrors.values() for mirror in mirrors if _plain(mirror)}
        self._session = replace(self.settings.session, insecure=self.settings.session.insecure | insecure)
        self._lock = threading.Lock()
        self._clients: OrderedDict[tuple[str, Credential | None], RegistryClient] = OrderedDict()

    def client(self, domain: str, credential: Credential | None = None) -> RegistryClient:
        """Give the client of a registry."""
        key = (domain, credential)
        with self._lock:
            found = self._clients.pop(key, None)
            if found is None:
                found = RegistryClient(
                    domain, credential=lambda _: credential, settings=self._session, retry=self.settings.retry
                )
            self._clients[key] = found
            gone = self._clients.popitem(last=False)[1] if len(self._clients) > _MOST_KEPT else None
        if gone is not None:
            gone.close()  # whoever has it goes on with it, over connections of their own
        return found

    def forget(self, client: RegistryClient) -> None:
        """Hear that a client met an error: what it knows of its registry may be wrong."""
        with self._lock:
            for key in [key for key, known in self._clients.items() if known is client]:
                del self._clients[key]
        client.close()

    def origins(self, reference: Reference, credential: Credential | None = None) -> tuple[Origin, ...]:
        """Give where an image may be fetched, the mirrors first. They are not told who we are: they are others."""
        mirrors = [_host(mirror) for mirror in self.settings.mirrors.get(reference.domain, ())]
        found = [Origin(client=self.client(host), reference=replace(reference, domain=host)) for host in mirrors]
        return (*found, Origin(client=self.client(reference.domain, credential), reference=reference))

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), OrderedDict()
        for client in clients:
            client.close()


def docker_hub_mirrors(*addresses: str) -> dict[str, tuple[str, ...]]:
    """Give the mirrors as dockerd's `registry-mirrors` means them: of Docker Hub alone."""
    return {DEFAULT_DOMAIN: addresses} if addresses else {}


def _host(address: str) -> str:
    return urlsplit(address).netloc if "://" in address else address.rstrip("/")


def _plain(address: str) -> bool:
    return address.startswith("http://")
