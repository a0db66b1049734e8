"""Asks an engine ahead of need: the calls of a snapshot, on their way before anybody knows what they are for.

The lists are the same for every stack, so they are asked for before a manifest is read; the inspects of a stack's containers as
soon as its name is known. The engine works meanwhile, and its answers wait in the sockets: of an apply without changes half
was waiting for it.

The rule: nothing here waits. What has not come yet, and what was not foreseen, `snapshot` asks for itself.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from declarative.core.state import LABEL_KIND, LABEL_STACK, SUFFIX_MAKING
from declarative.dockerapi.pipeline import BATCH
from declarative.dockerapi.transport import UnixEndpoint
from declarative.dockerapi.wire import encode_query
from declarative.drivers.docker.labels import CONTAINER_KINDS
from declarative.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from declarative.dockerapi.client import EngineClient
    from declarative.dockerapi.pipeline import Pending
    from declarative.dockerapi.wire import Json

FRESH_SECONDS = 2.0
"""How old an answer may be when it is used. A plan is about now; reading manifests takes tenths of a second."""

_LANES = 8
"""Connections that inspects go over, on this machine: one batch of answers fits into the buffer of a socket, and no more.
Elsewhere one has to do: each takes time and, over SSH, a process."""


class Ahead:
    """One round of a snapshot's calls. Made with the client; raises what connecting raises."""

    def __init__(self, client: EngineClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._begun = clock()
        self._pending: list[Pending] = []
        self._containers = self._begin(["/containers/json?all=1"])
        self._info = self._begin(["/info"])  # takes dockerd 10 ms
        filters = {"filters": {"label": [LABEL_STACK]}}
        self._others = self._begin(["/images/json", "/networks", f"/volumes?{encode_query(filters)}"])
        self._listed: Json = None
        self._lanes = _LANES if isinstance(client.endpoint, UnixEndpoint) else 1
        self._inspects: list[tuple[list[str], Pending]] = []

    @property
    def fresh(self) -> bool:
        """Whether the answers may still be used."""
        return self._clock() - self._begun < FRESH_SECONDS

    def drop(self) -> None:
        """Let go of what was not collected."""
        for pending in self._pending:
            pending.drop()

    def expect(self, stack: str) -> None:
        """Inspect the containers of `stack`, if the list of all has come by now."""
        if not self._inspects and self._containers.answering:
            self._inspect([item["Id"] for item in self.listed() if is_owned(item, stack)])

    def listed(self) -> Json:
        """Give the list of all containers."""
        if self._listed is None:
            self._listed = self._told(self._containers.documents()[0], list, "its containers")
        return self._listed

    def lists(self) -> tuple[Json, Json, Json]:
        """Give the lists of images, networks and volumes (of any stack). To be called once."""
        images, networks, volumes = self._others.documents()
        return (
            self._told(images, list, "its images"),
            self._told(networks, list, "its networks"),
            self._told(volumes, dict, "its volumes"),
        )

    def info(self) -> Json:
        """Give what the engine says about itself. To be called once."""
        return self._told(self._info.documents()[0], dict, "what it is")

    def inspected(self, ids: Iterable[str]) -> list[Json]:
        """Give the containers with these ids, in this order; those that are gone are left out. To be called once."""
        wanted = list(ids)
        asked = {name for some, _ in self._inspects for name in some}
        self._inspect([name for name in wanted if name not in asked])
        found: dict[str, Json] = {}
        for some, pending in self._inspects:
            found |= zip(some, pending.documents(), strict=True)
        return [document for name in wanted if (document := found[name]) is not None]

    def _told(self, document: Json, kind: type, what: str) -> Json:
        """Refuse what is no answer: never to be read as "there is none"."""
        if isinstance(document, kind):
            return document
        remedy = "if a proxy stands before the engine, let it pass GET of everything"
        raise Unavailable(self._client.address, f"the engine does not tell {what}", remedy)

    def _inspect(self, ids: list[str]) -> None:
        size = max(BATCH, -(-len(ids) // self._lanes))
        for start in range(0, len(ids), size):
            some = ids[start : start + size]
            paths = [f"/containers/{name}/json" for name in some]
            self._inspects.append((some, self._begin(paths)))

    def _begin(self, paths: list[str]) -> Pending:
        try:
            self._pending.append(self._client.begin_many(paths))
        except BaseException:
            self.drop()
            raise
        return self._pending[-1]


def is_owned(item: Json, stack: str) -> bool:
    """Whether a listed container is one of the stack's, and whole."""
    labels = item.get("Labels") or {}
    ours = labels.get(LABEL_STACK) == stack and labels.get(LABEL_KIND) in CONTAINER_KINDS
    return ours and not name_of(item).endswith(SUFFIX_MAKING)


def name_of(item: Json) -> str:
    """Give a container's own name; links made by others are listed beside it, as `/other/alias`."""
    own = next((name for name in item.get("Names") or () if name.count("/") == 1), "")
    return str(own).removeprefix("/")
