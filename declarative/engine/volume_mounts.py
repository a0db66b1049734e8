"""What a volume with options has on its folder: a mount, in the words of mount(8).

The rule that keeps it simple: no helper of a file system is called, as dockerd calls none. What options mean is the kernel's
business.
"""

from __future__ import annotations

import socket
import subprocess
from typing import TYPE_CHECKING

from declarative.engine.runtime.rootfs import mounts_below
from declarative.errors import Conflict, Failed, Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_OPTIONS = ("type", "o", "device")
_RESOLVED_TYPES = ("nfs", "nfs3", "nfs4", "cifs")  # the kernel wants addr= as an address
_MOUNT_SECONDS = 120.0


def check(name: str, options: Mapping[str, str]) -> None:
    """Refuse options that the local driver does not know, or that lack one. Invalid, in Docker's words."""
    for option in options:
        if option not in _OPTIONS:
            raise Invalid("", f'create {name}: invalid option: "{option}"')
    for needed in ("type", "device"):
        if options and not options.get(needed):
            raise Invalid("", f'create {name}: missing required option: "{needed}"')


def mount(name: str, path: Path, given: Mapping[str, str]) -> None:
    """Put on a volume's folder what its options say. Failed, with what the kernel says to it."""
    kind, device = given["type"], given["device"]
    options = _resolved(kind, given.get("o", ""))
    argv = ["mount", "-i", "-t", kind, *(["-o", options] if options else []), "--", device, str(path)]
    try:
        ended = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=_MOUNT_SECONDS)
    except subprocess.TimeoutExpired:
        raise Failed("", f"error while mounting volume {name!r}: it took more than {_MOUNT_SECONDS:.0f} s") from None
    if ended.returncode:
        said = (ended.stderr.strip().splitlines() or ["mount says nothing"])[0]
        raise Failed(
            "",
            f"error while mounting volume '{path}': failed to mount local volume: mount {device}:{path}, "
            f"data: {options}: {said}",
        )


def unmount(name: str, path: Path) -> None:
    """Take away what is mounted on a volume's folder: its data is elsewhere, and must never be removed with the folder.

    Who has a file of it open keeps that, as with dockerd; the folder is empty at once.
    """
    while points := mounts_below(path.resolve()):
        ended = subprocess.run(["umount", "--lazy", "--", str(points[0])], check=False, capture_output=True, text=True)
        if ended.returncode:
            raise Conflict("", f"unmount {name}: {ended.stderr.strip()}")


def _resolved(kind: str, options: str) -> str:
    """Put the address in the place of the name in `addr=`."""
    if kind not in _RESOLVED_TYPES:
        return options
    words = options.split(",")
    for index, word in enumerate(words):
        if word.startswith("addr="):
            host = word.removeprefix("addr=")
            try:
                words[index] = f"addr={socket.getaddrinfo(host, None)[0][4][0]}"
            except OSError as error:
                raise Failed(
                    "", f"error resolving passed in network volume address: {host}: {error.strerror}"
                ) from error
    return ",".join(words)
