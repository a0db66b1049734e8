"""Which devices a privileged container is given."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from declarative.engine.containers import devices

if TYPE_CHECKING:
    from pathlib import Path


def test_all_of_the_machine_but_what_each_container_has_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "pts").mkdir()
    for name in ("fuse", "null", "console", "net/tun", "pts/0"):
        os.mknod(tmp_path / name, 0o600 | stat.S_IFCHR, os.makedev(10, 229))
    os.mknod(tmp_path / "loop0", 0o600 | stat.S_IFBLK, os.makedev(7, 3))
    (tmp_path / "file").write_text("no device")
    (tmp_path / "stdin").symlink_to("/proc/self/fd/0")

    found = {one.path: (one.kind, one.major, one.minor, one.permissions) for one in devices.every(tmp_path)}

    assert found == {
        "/dev/fuse": ("c", 10, 229, "rwm"),
        "/dev/loop0": ("b", 7, 3, "rwm"),
        "/dev/net/tun": ("c", 10, 229, "rwm"),
    }
