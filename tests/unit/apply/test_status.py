"""What `status` says of what is there under the names of a stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.apply.scope import scope_of
from declarative.apply.status import status_of
from declarative.core.actions import CreateContainer, CreateNetwork
from declarative.core.resources import ContainerSpec, ImageRef, NetworkSpec
from declarative.core.state import Owner
from declarative.drivers.memory import MemoryDriver
from tests.unit.apply.world import HEAD, World, container

if TYPE_CHECKING:
    from pathlib import Path

_NETWORKS = f"---\n{HEAD}kind: Network\nmetadata: {{name: back}}\n"


def test_who_has_the_name_of_one_of_ours_is_not_taken_for_it(tmp_path: Path) -> None:
    world = World(folder=tmp_path)
    other = MemoryDriver(world.engine)
    spec = ContainerSpec(image=ImageRef(reference="busybox:latest"), command=("sleep", "9000"))
    owner = Owner(stack="theirs", kind="Container", name="web", index=1)
    other.execute(CreateContainer(name="shop-web-1", spec=spec, owner=owner, applied={}), lambda _: None)
    theirs = Owner(stack="theirs", kind="Network", name="back")
    other.execute(CreateNetwork(name="shop_back", spec=NetworkSpec(), owner=theirs, applied={}), lambda _: None)

    desired = world.load(_NETWORKS + container("web")).desired
    status = status_of(other.snapshot(scope_of(desired)), desired)

    assert [(row.name, row.state, row.ready) for row in status.rows] == [
        ("shop-web-1", "of stack 'theirs': created", False)
    ]
    assert status.others == {"Network/shop_back": "of stack 'theirs'", "Network/shop_default": "missing"}
    assert not status.ready
