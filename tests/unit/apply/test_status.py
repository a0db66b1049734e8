"""What `status` says of what is there under the names of a stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.apply.drift import drift_of
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


def test_what_an_apply_that_was_killed_left_is_told(tmp_path: Path) -> None:
    world = World(folder=tmp_path)
    world.apply(container("web"))
    desired = world.load(container("web")).desired
    assert not status_of(world.driver.snapshot(scope_of(desired)), desired).unfinished

    world.engine.locks["shop"] = {}
    actual = world.driver.snapshot(scope_of(desired))
    assert status_of(actual, desired).unfinished
    assert drift_of(world.look(container("web"))[0], desired, actual).unfinished
