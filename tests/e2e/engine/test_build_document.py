"""Every Dockerfile of the document that the project came from, built and run.

A base image out of a root file system, vim on it, the smallest image, layers on layers, and the build that is debugged by running
a layer.

The rule that keeps it simple: the document's own lines, with the smallest packages that are what it names.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.e2e.engine.clients import Daemon
from tests.embedded import EmbeddedEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

_SECONDS = 900.0
_ORIGIN = 0x400000


def hello() -> bytes:
    """Write a static program of x86-64 Linux that says hello: an ELF header, one segment, two system calls."""
    text = b"hello from scratch\n"
    start = 64 + 56
    code = (
        b"\xb8\x01\x00\x00\x00\xbf\x01\x00\x00\x00"  # write(1,
        b"\x48\xbe" + struct.pack("<Q", _ORIGIN + start + 41)  # text,
        + b"\xba" + struct.pack("<I", len(text)) + b"\x0f\x05"  # its length)
        b"\xb8\x3c\x00\x00\x00\x31\xff\x0f\x05\x90\x90\x90\x90\x90"  # exit(0)
    )  # fmt: skip
    size = start + len(code) + len(text)
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _ORIGIN + start, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _ORIGIN, _ORIGIN, size, size, 0x1000)
    return head + segment + code + text


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the root file system of a small Debian, as an archive packed with xz."""
    folder = tmp_path_factory.mktemp("rootfs")
    release = subprocess.run(
        ["sh", "-c", '. /etc/os-release && echo "$VERSION_CODENAME"'], check=True, capture_output=True, text=True
    ).stdout.strip()
    mirrors = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", f"Codename: {release}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    archive = folder / "rootfs.tar"
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=minbase", release, archive, *mirrors[:1]],
        check=True,
        capture_output=True,
        timeout=_SECONDS,
        env=dict(os.environ, TMPDIR="/var/tmp"),
    )
    subprocess.run(["xz", "-0", "-T2", archive], check=True, timeout=_SECONDS)
    return folder / "rootfs.tar.xz"


@pytest.fixture(scope="module")
def outgoing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Give an embedded engine whose containers reach a mirror."""
    with EmbeddedEngine(own_network=False) as engine:
        yield Daemon(engine=engine, home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def debian(outgoing: Daemon, rootfs: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Build the base image: FROM scratch, ADD the archive."""
    context = tmp_path_factory.mktemp("base")
    shutil.copy(rootfs, context / "debian-docker.tar.xz")
    (context / "Dockerfile").write_text('FROM scratch\nADD debian-docker.tar.xz /\nCMD ["/bin/bash"]\n')
    outgoing.docker("build", "-t", "debian", str(context), seconds=_SECONDS)
    return "debian"


def test_the_base_image_is_a_debian(outgoing: Daemon, debian: str) -> None:
    assert "Debian" in outgoing.run(debian, "cat", "/etc/os-release")
    assert outgoing.run(debian, "stat", "-c", "%a %U", "/tmp", "/usr/bin/passwd") == "1777 root\n4755 root"
    assert outgoing.inspect(debian, kind="image")["Config"]["Cmd"] == ["/bin/bash"]


def test_vim_on_debian(outgoing: Daemon, debian: str) -> None:
    dockerfile = f"FROM {debian}\nRUN apt-get update && apt-get install -y --no-install-recommends vim-tiny\n"
    outgoing.docker("build", "-t", "debian-with-vi-dockerfile", "-", stdin=dockerfile, seconds=_SECONDS)

    assert "VIM - Vi IMproved" in outgoing.run("debian-with-vi-dockerfile", "vi", "--version")
    assert "apt-get install -y" in outgoing.out("history", "--no-trunc", "debian-with-vi-dockerfile")


def test_emacs_and_apache_each_in_a_layer(outgoing: Daemon, debian: str) -> None:
    dockerfile = (
        f"FROM {debian}\nRUN apt-get update\nRUN apt-get install -y --no-install-recommends jed\n"
        'RUN apt-get install -y --no-install-recommends apache2\nCMD ["/bin/bash"]\n'
    )
    outgoing.docker("build", "-t", "layers", "-", stdin=dockerfile, seconds=_SECONDS)
    again = outgoing.docker("build", "-t", "layers", "-", stdin=dockerfile).stdout

    assert again.count("Using cache") == 4
    assert "Apache/2" in outgoing.run("layers", "apache2", "-v")
    assert outgoing.run("layers", "sh", "-c", "command -v jed") == "/usr/bin/jed"
    assert len(outgoing.inspect("layers", kind="image")["RootFS"]["Layers"]) == 4


def test_the_smallest_image(outgoing: Daemon, tmp_path: Path) -> None:
    (tmp_path / "hello").write_bytes(hello())
    (tmp_path / "hello").chmod(0o755)
    (tmp_path / "Dockerfile").write_text('FROM scratch\nCOPY hello /\nCMD ["/hello"]\n')
    outgoing.docker("build", "-t", "hello", str(tmp_path))

    assert outgoing.run("hello") == "hello from scratch"
    assert outgoing.inspect("hello", kind="image")["Size"] == len(hello())


def test_a_failed_build_is_debugged_by_running_its_last_good_layer(outgoing: Daemon) -> None:
    dockerfile = "FROM busybox\nRUN touch tmpfile\nRUN /bin/bash -c echo continue to build...\nCOPY testfile /\n"
    ended = outgoing.docker("build", "-t", "image-debug", "-", stdin=dockerfile, check=False)
    layer = [
        line.split()[-1] for line in ended.stdout.splitlines() if line.startswith(" ---> ") and "Running" not in line
    ][-1]

    assert ended.returncode == 127
    assert outgoing.run(layer, "ls", "/tmpfile") == "/tmpfile"
    assert "no such file or directory" in outgoing.docker("run", "--rm", layer, "/bin/bash", check=False).stderr


def test_vim_is_installed_by_hand_and_committed(outgoing: Daemon, debian: str) -> None:
    """`docker run -it ubuntu`, `apt-get install -y vim`, `docker ps`, `docker commit silly_goldberg ubuntu-with-vi`."""
    with outgoing.terminal("run", "-it", debian) as terminal:
        terminal.read_until("# ")
        terminal.type("apt-get update && apt-get install -y --no-install-recommends vim-tiny; echo ended with $?\n")
        terminal.read_until("ended with 0", _SECONDS)
        (name,) = outgoing.lines("ps", "--format", "{{.Names}}")
        outgoing.docker("commit", name, "ubuntu-with-vi", seconds=_SECONDS)
        terminal.type("exit\n")
        terminal.finish()
    assert "VIM - Vi IMproved" in outgoing.run("ubuntu-with-vi", "vi", "--version")
    assert outgoing.docker("run", "--rm", debian, "vi", "--version", check=False).returncode == 127
    assert "A /usr/bin/vim.tiny" in outgoing.lines("diff", name)
