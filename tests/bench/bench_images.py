"""Images in and out of the embedded engine against dockerd: pull, push, load of 300 MB in 20,000 files, and the memory of a pull.

The rule that keeps it simple: the stock client of dockerd's release for both, the same local registry, data roots on the same
disk; before each run the image is gone from where it is going to.
"""

from __future__ import annotations

import io
import json
import random
import subprocess
import tarfile
import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.harness import Figure, compared, timed
from tests.embedded import EmbeddedEngine
from tests.registry_server import serve_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.engines import Engine

_NAME = "bench/images"
_ROUNDS = 5
_FILES = 20_000
_BIG_FILES = 10
_BIG_BYTES = 22_000_000
_GOAL = 1.0
_MEMORY_GOAL = 150.0
_IDLE_GOAL = 60.0
_MIB = 1 << 20


def measure(engine: Engine, folder: Path) -> Iterator[Figure]:
    """Yield the figures as they come. RuntimeError, AssertionError when something fails."""
    archive = folder / "image.tar"
    write_image(archive)
    with EmbeddedEngine(base=False) as ours, serve_registry(folder / "full") as registry:
        name = f"{registry}/{_NAME}:1"
        ours.reach(int(registry.rpartition(":")[2]))
        both = (ours, engine)
        engine.docker("load", "--quiet", "--input", str(archive))
        engine.docker("tag", f"{_NAME}:1", name)
        engine.docker("push", "--quiet", name)
        _forget(engine, name)
        yield _figure("idle daemon", _memory(ours, "VmRSS") / _MIB, _IDLE_GOAL)
        yield _compare("pull of 300 MB in 20,000 files", both, lambda one: one.docker("pull", "--quiet", name), name)
        yield _figure("highest memory of the daemon in pulls", _memory(ours, "VmHWM") / _MIB, _MEMORY_GOAL)

        def load(one: Engine) -> None:
            one.docker("load", "--quiet", "--input", str(archive))

        yield _compare("load of the same", both, load, name)
        for one in both:
            load(one)
        yield _pushes(both, folder)
        yield _compare(
            "save of the same", both, lambda one: one.docker("save", "--output", str(folder / "saved"), f"{_NAME}:1")
        )
        yield _compare("removal of the same", both, lambda one: _forget(one, name), before=load)
        yield _figure("highest memory of the daemon in all", _memory(ours, "VmHWM") / _MIB, _MEMORY_GOAL)


def _compare(
    what: str,
    engines: tuple[Engine, Engine],
    act: Callable[[Engine], object],
    gone: str = "",
    before: Callable[[Engine], object] = lambda _: None,
) -> Figure:
    """Measure in turns, after a round that is not measured; `gone` is removed, and `before` done, before each."""
    samples: tuple[list[float], list[float]] = ([], [])
    for turn in range(_ROUNDS + 1):
        for engine, taken in zip(engines, samples, strict=True):
            if gone:
                _forget(engine, gone)
            before(engine)
            _settle()
            seconds = timed(lambda engine=engine: act(engine))  # type: ignore[misc]
            if turn:
                taken.append(seconds)
    return compared(what, *samples, goal=_GOAL)


def _pushes(engines: tuple[Engine, Engine], folder: Path) -> Figure:
    """Measure pushes, each to a registry that is empty."""
    samples: tuple[list[float], list[float]] = ([], [])
    for turn in range(_ROUNDS + 1):
        for place, (engine, taken) in enumerate(zip(engines, samples, strict=True)):
            with serve_registry(folder / f"empty-{turn}-{place}") as registry:
                engine.reach(int(registry.rpartition(":")[2]))
                name = f"{registry}/{_NAME}:1"
                engine.docker("tag", f"{_NAME}:1", name)
                _settle()
                seconds = timed(lambda engine=engine, name=name: engine.docker("push", "--quiet", name))  # type: ignore[misc]
                if turn:
                    taken.append(seconds)
                engine.docker("rmi", name)
    return compared("push of the same", *samples, goal=_GOAL)


def _settle() -> None:
    """Let nobody pay for what another one wrote."""
    subprocess.run(["sync"], check=True)
    time.sleep(0.2)


def _forget(engine: Engine, *names: str) -> None:
    for name in (*names, f"{_NAME}:1"):
        engine.docker("rmi", "--force", name, check=False)


def _figure(what: str, value: float, goal: float) -> Figure:
    return Figure(name=what, ours=value, unit="MiB", goal=goal)


def _memory(engine: Engine, key: str) -> int:
    (pid,) = engine.daemon_pids()[:1]
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(row.split()[1]) * 1024 for row in rows if row.startswith(f"{key}:"))


def write_image(archive: Path) -> None:
    """Write an image of three layers as `docker save` of 20.10 does: large files, many small ones, a few changes."""
    chance = random.Random(1)  # noqa: S311 - the same in every run
    words = [chance.randbytes(chance.randint(3, 12)).hex().encode() for _ in range(4000)]
    text = b" ".join(chance.choices(words, k=100_000))

    def some(size: int) -> bytes:
        start = chance.randrange(len(text) - size)
        return text[start : start + size]

    def large() -> bytes:
        """Give what packs to about half: text and noise in turns."""
        parts = (some(500_000) if part % 2 else chance.randbytes(500_000) for part in range(_BIG_BYTES // 500_000))
        return b"".join(parts)

    layers = [
        _tar({f"opt/large{place}": large() for place in range(_BIG_FILES)}),
        _tar({f"usr/share/d{place % 200}/file{place}": some(chance.randint(100, 8000)) for place in range(_FILES)}),
        _tar({"etc/motd": b"welcome\n", "opt/large0": b"changed"}),
    ]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer).hexdigest()}" for layer in layers]},
    }
    encoded = json.dumps(config).encode()
    names = [f"{place}/layer.tar" for place in range(len(layers))]
    place = f"{sha256(encoded).hexdigest()}.json"
    manifest = [{"Config": place, "RepoTags": [f"{_NAME}:1"], "Layers": names}]
    files = {**dict(zip(names, layers, strict=True)), place: encoded}
    archive.write_bytes(_tar({**files, "manifest.json": json.dumps(manifest).encode()}))


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    folders: set[str] = set()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in files.items():
            for folder in reversed(Path(name).parents[:-1]):  # as every builder writes them
                if str(folder) not in folders:
                    folders.add(str(folder))
                    entry = tarfile.TarInfo(str(folder))
                    entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, 1_700_000_000
                    tar.addfile(entry)
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), 1_700_000_000
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
