"""The place that tests run in: network and mount namespaces of the test process itself.

`enter` moves the calling process into a new network namespace (loopback, and a way out through slirp4netns) and a new
mount namespace with an empty /run. Every engine, registry and ssh server that a test starts lives inside, on the same
loopback as the test. So a run meets no daemon of the machine's, takes no port, bridge or firewall rule of the machine's,
and what it mounts is gone with its last process, however it ends. The way out is a process, not a rule in the machine's
firewall: there is nothing to undo after a crash.

The rule that keeps it simple: one call, at the start, in the main thread, before any other thread exists. Only namespaces
are entered here; nothing is asked of the tests. Without root nothing happens, and what needs an engine then fails.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_NEWNS = 0x00020000  # clone(2)
_NEWNET = 0x40000000
_DNS_OF_SLIRP = "10.0.2.3"  # slirp4netns(1): its own DNS forwarder
_RESOLV = Path("/etc/resolv.conf")
_CGROUP_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """What was entered. `netns` and `mntns` are the namespaces' identities, as in /proc/PID/ns."""

    netns: str
    mntns: str
    way_out: subprocess.Popen[bytes] | None


def enter() -> Sandbox | None:
    """Move this process into namespaces of its own; None without root. OSError where the kernel refuses."""
    if os.geteuid() != 0:
        return None
    outside = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind in ("net", "mnt")]
    try:
        unshare(_NEWNS | _NEWNET)
        _run("mount", "--make-rprivate", "/")
        _run("ip", "link", "set", "lo", "up")
        way_out = _open_way_out(outside)
        _cover_run(nameserver=_DNS_OF_SLIRP if way_out else None)
        _mount_cgroups()
    finally:
        for descriptor in outside:
            os.close(descriptor)
    return Sandbox(netns=namespace("net"), mntns=namespace("mnt"), way_out=way_out)


def leave(sandbox: Sandbox) -> None:
    """End the way out; the namespaces end with the process."""
    if sandbox.way_out is not None:
        sandbox.way_out.kill()
        sandbox.way_out.wait()


def unshare(flags: int) -> None:
    """Enter new namespaces with the calling thread; Python has this call from 3.12 on only."""
    _checked(ctypes.CDLL(None, use_errno=True).unshare(flags), "unshare")


def setns(descriptor: int) -> None:
    """Enter a namespace with the calling thread; Python has this call from 3.12 on only."""
    _checked(ctypes.CDLL(None, use_errno=True).setns(descriptor, 0), "setns")


def namespace(kind: str, pid: int | str = "self") -> str:
    """Return the identity of a process's namespace, such as `net:[4026531840]`. OSError when the process is gone."""
    return str(Path(f"/proc/{pid}/ns/{kind}").readlink())


def _checked(result: int, call: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


def _open_way_out(outside: list[int]) -> subprocess.Popen[bytes] | None:
    """Start slirp4netns outside, for this process's network namespace, and wait until the device is up."""
    told, tells = os.pipe()
    net, mnt = outside
    way_in = ["nsenter", f"--net=/proc/self/fd/{net}", f"--mount=/proc/self/fd/{mnt}"]
    # it dies with this process, whatever kills that
    argv = [*way_in, "setpriv", "--pdeathsig", "KILL", "slirp4netns", "--configure", "--mtu=65520"]
    argv += ["--disable-host-loopback", f"--ready-fd={tells}", str(os.getpid()), "tap0"]
    process = subprocess.Popen(
        argv, pass_fds=(net, mnt, tells), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(tells)
    with os.fdopen(told, "rb") as ready:
        if ready.read(1):
            return process
    process.wait()  # no slirp4netns, or no /dev/net/tun: loopback alone
    return None


def _cover_run(*, nameserver: str | None) -> None:
    """Put an empty /run over the machine's, so that no socket of its daemons is seen, and names resolve through the way out."""
    text = f"nameserver {nameserver}\n" if nameserver else _RESOLV.read_text() if _RESOLV.exists() else ""
    target = _RESOLV.resolve()
    _run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run")
    for folder in ("/run/lock", "/run/sshd"):  # Debian's layout; sshd refuses to start without its own
        Path(folder).mkdir(mode=0o755)
    inside_run = target.is_relative_to("/run")
    written = target if inside_run else Path("/run/resolv.conf")
    written.parent.mkdir(parents=True, exist_ok=True)
    written.write_text(text)
    if not inside_run and target.exists():
        _run("mount", "--bind", str(written), str(target))


def _mount_cgroups() -> None:
    """Mount the control groups where the machine has not: engines need them, and Debian's init scripts are not run here."""
    if any(
        line.split()[4].startswith(str(_CGROUP_ROOT)) for line in Path("/proc/self/mountinfo").read_text().splitlines()
    ):
        return
    rows = [line.split() for line in Path("/proc/cgroups").read_text().splitlines()[1:]]
    first_version = [name for name, hierarchy, _, enabled in rows if enabled == "1" and hierarchy != "0"]
    if not first_version:
        _run("mount", "-t", "cgroup2", "cgroup2", str(_CGROUP_ROOT))
        return
    _run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(_CGROUP_ROOT))
    for name, options in [*((name, name) for name in first_version), ("systemd", "none,name=systemd")]:
        (_CGROUP_ROOT / name).mkdir()
        _run("mount", "-t", "cgroup", "-o", options, "cgroup", str(_CGROUP_ROOT / name))
