"""A builder for the tests of it, one for each file of them, and a check that builds leave nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from declarative.engine.runtime.rootfs import mounts_below
from tests.contract.engine.build.builders import Shop, shop
from tests.contract.engine.build.golden import FIXTURE, base_layer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def made() -> Iterator[Shop]:
    with shop() as opened:
        opened.add_image("busybox:latest", base_layer("busybox"), FIXTURE["busybox"]["config"])
        yield opened


@pytest.fixture
def nothing_is_left(made: Shop) -> Iterator[None]:
    """After each test: no mounts, no folders of builds, no namespaces, no processes, no control groups."""
    yield
    paths = made.parts.settings.paths
    assert mounts_below(paths.root) == ()
    assert list((paths.build / "work").iterdir()) == []
    assert list(paths.namespaces.iterdir()) == []
    assert list(paths.bundles.iterdir()) == []
    assert list((paths.run / "secrets").iterdir()) == [] if (paths.run / "secrets").exists() else True
    assert [group for group in Path("/sys/fs/cgroup").glob(f"*/{made.root.name}/*") if group.is_dir()] == []
