"""Can this machine run the engine? Its programs, and what its kernel has, each tried out, with what mends it.

`python -m declarative.engine --probe` prints the findings as JSON, for `declarative doctor`. The rule that keeps it simple:
kernel features are not looked up but used, in a child with namespaces of its own, so that nothing of it stays.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable

_NEWNS, _NEWNET = 0x00020000, 0x40000000
_INSTALL = (
    ("apt-get", "apt-get install {}"),
    ("dnf", "dnf install {}"),
    ("apk", "apk add {}"),
    ("pacman", "pacman -S {}"),
    ("zypper", "zypper install {}"),
)
_CONTROLLERS = ("memory", "cpu", "pids")


@record
class Finding:
    """One thing that the engine needs; `problem` is "" where it is there, `remedy` the command that mends it."""

    name: str
    text: str
    problem: str = ""
    remedy: str = ""
    needed: bool = True


def probe(root: Path) -> tuple[Finding, ...]:
    """Try everything; `root` is where the data would be."""
    return (*_programs(), *_features(root), _cgroups())


def documents(found: tuple[Finding, ...]) -> list[dict[str, Any]]:
    """Write findings for another process."""
    return [
        {"name": one.name, "text": one.text, "problem": one.problem, "remedy": one.remedy, "needed": one.needed}
        for one in found
    ]


def _programs() -> list[Finding]:
    from declarative.engine.runtime.oci import find_program

    found = []
    for name, package, purpose, needed in (
        ("runc", "runc", "runs containers", True),
        ("conmon", "conmon", "watches over containers", True),
        ("nft", "nftables", "publishes ports", True),
        ("git", "git", "fetches build contexts and ADD of repositories", False),
    ):
        path = find_program(name) or (find_program("crun") if name == "runc" else None)
        problem = "" if path else f"{name} is not installed; it {purpose}"
        found.append(Finding(name=name, text=str(path or ""), problem=problem, remedy=_install(package), needed=needed))
    return found


def _install(package: str) -> str:
    from declarative.engine.runtime.oci import find_program

    return next((text.format(package) for name, text in _INSTALL if find_program(name)), f"install {package}")


def _features(root: Path) -> list[Finding]:
    tries: tuple[tuple[str, Callable[[], None], str, str], ...] = (
        ("overlayfs", lambda: _overlay(root), "overlay mounts", "modprobe overlay"),
        ("bridge", _bridge, "bridges", "modprobe bridge"),
        ("veth", _veth, "pairs of interfaces", "modprobe veth"),
        (
            "nf_tables",
            _nftables,
            "packet filter with address translation",
            "modprobe -a nf_tables nft_chain_nat nft_masq",
        ),
    )
    found = []
    for name, attempt, text, remedy in tries:
        problem = _in_child(attempt)
        found.append(Finding(name=name, text=text, problem=problem and f"the kernel refuses: {problem}", remedy=remedy))
    return found


def _in_child(attempt: Callable[[], None]) -> str:
    """Run `attempt` in a process with namespaces of its own; "" where it works, else why it does not."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        said = ""
        try:
            from declarative.engine.runtime import kernel

            kernel.unshare(_NEWNS | _NEWNET)
            attempt()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is told; the child has no other end
            said = str(error) or type(error).__name__
        os.write(writer, said.encode()[:4000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        said_ = file.read().decode(errors="replace")
    os.waitpid(child, 0)
    return said_


def _overlay(root: Path) -> None:
    from declarative.engine.runtime import kernel, rootfs

    kernel.mount("none", "/", "", 0x4000 | 0x40000)  # MS_REC | MS_PRIVATE: nothing gets out
    place = next(folder for folder in (root, *root.parents) if folder.is_dir())
    with tempfile.TemporaryDirectory(dir=place, prefix=".probe-") as folder:
        parts = [Path(folder) / name for name in ("lower", "upper", "work", "merged")]
        for part in parts:
            part.mkdir()
        rootfs.mount_overlay([parts[0]], parts[1], parts[2], parts[3])
        rootfs.unmount(parts[3])


def _bridge() -> None:
    from declarative.engine.networks import links
    from declarative.engine.networks.netlink import Netlink

    with Netlink() as kernel:
        links.add_bridge(kernel, "probe0", alias="probe", mac="02:00:00:00:00:01")


def _veth() -> None:
    from declarative.engine.networks import links
    from declarative.engine.networks.netlink import Netlink

    _bridge()
    with Netlink() as kernel, Path("/proc/self/ns/net").open("rb") as namespace:
        bridge = links.find(kernel, "probe0")
        pair = links.Pair(
            link="probe1", interface="probe2", mac="02:00:00:00:00:02", bridge=bridge.index if bridge else 0,
            namespace=namespace.fileno(), mtu=0,
        )  # fmt: skip
        links.add_pair(kernel, pair)


def _nftables() -> None:
    from declarative.engine.networks.nftables import Nftables

    Nftables().run(
        "table ip probe { chain out { type nat hook postrouting priority 100; ip saddr 10.0.0.0/8 masquerade; }; }"
    )


def _cgroups() -> Finding:
    from declarative.engine.runtime.cgroups import detect

    groups = detect()
    if groups.unified:
        return Finding(name="cgroups", text="version 2")
    missing = [name for name in _CONTROLLERS if name not in groups.first]
    if missing and not groups.first:
        remedy = "mount -t cgroup2 cgroup2 /sys/fs/cgroup"
        return Finding(name="cgroups", text="", problem="no control groups are mounted", remedy=remedy)
    problem = f"without {', '.join(missing)}: limits of these are not kept" if missing else ""
    remedy = "boot with cgroup_enable=memory on the kernel's command line" if "memory" in missing else ""
    return Finding(name="cgroups", text="version 1", problem=problem, remedy=remedy, needed=False)
