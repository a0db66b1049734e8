"""The blob store: whole blobs or none, whatever happens while they come in."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from declarative.engine.images.blobs import BlobStore
from declarative.errors import Failed, Invalid, NotFound
from declarative.oci.digest import Digest, DigestMismatch

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT = bytes(range(256)) * 1000
DIGEST = Digest.of_bytes(CONTENT)
ROOT = Path(__file__).parents[3]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def leftovers(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "ingest").iterdir())


def test_a_blob_goes_in_and_comes_out(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    with store.ingest(DIGEST) as blob:
        for at in range(0, len(CONTENT), 1000):
            blob.write(CONTENT[at : at + 1000])
        assert not store.has(DIGEST), "no blob before it is verified"
    with store.open(DIGEST) as file:
        assert file.read() == CONTENT
    assert store.size(DIGEST) == len(CONTENT)
    assert list(store) == [DIGEST]
    assert leftovers(tmp_path) == []
    assert (tmp_path / "blobs" / "sha256" / DIGEST.hex).stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "oci-layout").read_text() == '{"imageLayoutVersion":"1.0.0"}'


def test_a_removed_blob_is_gone_and_an_open_one_reads_on(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    assert store.add(CONTENT) == DIGEST
    with store.open(DIGEST) as file:
        assert store.remove(DIGEST)
        assert file.read() == CONTENT
    assert not store.remove(DIGEST)
    for ask in (store.open, store.size):
        with pytest.raises(NotFound, match=DIGEST.hex):
            ask(DIGEST)


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_every_registered_algorithm(algorithm: str, tmp_path: Path) -> None:
    digest = Digest.of_bytes(CONTENT, algorithm)
    store = BlobStore(tmp_path)
    assert store.add(CONTENT, digest) == digest
    assert list(BlobStore(tmp_path)) == [digest]


def test_other_bytes_are_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    with pytest.raises(DigestMismatch, match="hello-layer"), store.ingest(DIGEST, "hello-layer") as blob:
        blob.write(CONTENT + b"x")
    assert list(store) == []
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("digest", [Digest(algorithm="sha256", hex="../../x"), Digest(algorithm="../x", hex="0" * 64)])
def test_a_digest_is_never_another_path(digest: Digest, tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "store")
    for act in (store.has, store.open, store.size, store.remove, store.path):
        with pytest.raises(Invalid):
            act(digest)
    with pytest.raises(Invalid), store.ingest(digest):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_cut_download_is_continued(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError), BlobStore(tmp_path).ingest(DIGEST) as blob:  # noqa: PT012 - the cut itself
        blob.write(CONTENT[:70_000])
        raise ConnectionError
    store = BlobStore(tmp_path)  # as after a restart
    with store.ingest(DIGEST) as blob:
        assert blob.offset == 70_000
        blob.write(CONTENT[blob.offset :])
    assert store.has(DIGEST)
    assert leftovers(tmp_path) == []


def test_a_damaged_part_is_dropped_so_that_the_next_attempt_succeeds(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    (tmp_path / "ingest" / f"{DIGEST.hex}.partial").write_bytes(bytes(70_000))
    with pytest.raises(DigestMismatch), store.ingest(DIGEST) as blob:
        blob.write(CONTENT[blob.offset :])
    with store.ingest(DIGEST) as blob:
        assert blob.offset == 0
        blob.write(CONTENT)
    assert store.has(DIGEST)


def test_a_download_that_cannot_continue_starts_anew(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    (tmp_path / "ingest" / f"{DIGEST.hex}.partial").write_bytes(CONTENT[:50_000])
    with store.ingest(DIGEST) as blob:
        blob.restart()
        blob.write(CONTENT)
    assert store.size(DIGEST) == len(CONTENT)


def test_two_at_once_both_succeed(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    with store.ingest(DIGEST) as one, store.ingest(DIGEST) as other:
        one.write(CONTENT[:10])
        other.write(CONTENT)
        one.write(CONTENT[10:])
    assert list(store) == [DIGEST]
    assert leftovers(tmp_path) == []


def test_one_that_is_just_begun_and_taken_for_a_leftover_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BlobStore(tmp_path)
    swept: list[int] = []
    lock = fcntl.flock

    def sweep_before(descriptor: int, how: int) -> None:
        if not swept:  # between its making and its lock
            swept.append(descriptor)
            store.sweep()
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", sweep_before)
    assert store.add(CONTENT) == DIGEST
    assert leftovers(tmp_path) == []


def test_opening_removes_leftovers_but_not_what_is_being_written(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    (tmp_path / "ingest" / "dead.tmp").write_bytes(b"left")
    (tmp_path / "ingest" / f"{'0' * 64}.partial").write_bytes(b"left")
    with store.ingest() as blob:
        blob.write(CONTENT)
        again = BlobStore(tmp_path)
        assert len(leftovers(tmp_path)) == 2
        assert again.sweep() == len(b"left")
    assert store.has(DIGEST)
    assert leftovers(tmp_path) == []


def test_what_nobody_continued_for_days_goes_when_the_store_is_opened(tmp_path: Path) -> None:
    BlobStore(tmp_path)
    names = [f"{digit * 64}.partial" for digit in "01"]
    for name in names:
        (tmp_path / "ingest" / name).write_bytes(b"left")
    os.utime(tmp_path / "ingest" / names[0], (0, 0))
    store = BlobStore(tmp_path)
    assert leftovers(tmp_path) == [names[1]]
    os.utime(tmp_path / "ingest" / names[1], (0, 0))
    with suppress(DigestMismatch), store.ingest(Digest(algorithm="sha256", hex="1" * 64)):
        BlobStore(tmp_path)
        assert leftovers(tmp_path) == [names[1]], "somebody is at it"


@pytest.mark.parametrize("expected", [None, Digest.of_bytes(CONTENT * 20)], ids=["any", "expected"])
def test_a_full_disk_is_said_and_nothing_is_kept(expected: Digest | None, small_disk: Path) -> None:
    store = BlobStore(small_disk)
    before = os.statvfs(small_disk).f_bfree
    with pytest.raises(Failed, match="disk full"), store.ingest(expected, "big-layer") as blob:
        blob.write(CONTENT * 20)
    assert os.statvfs(small_disk).f_bfree == before
    assert leftovers(small_disk) == []
    assert store.add(CONTENT) == DIGEST, "the store goes on working"


_WRITER = """
import os, signal, sys
from pathlib import Path
from declarative.engine.images.blobs import BlobStore
from declarative.oci.digest import Digest

steps = int(sys.argv[2])
def step(frame, event, arg):
    global steps
    if frame.f_code.co_filename.endswith("images/blobs.py"):
        frame.f_trace_opcodes = False
        if event == "line":
            steps -= 1
            if steps == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return step

content = bytes(range(256)) * 1000
sys.settrace(step)
store = BlobStore(Path(sys.argv[1]))
with store.ingest(Digest.of_bytes(content)) as blob:
    blob.write(content[blob.offset:blob.offset + 100_000])
    blob.write(content[blob.offset:])
store.add(b"a manifest")
store.remove(Digest.of_bytes(b"a manifest"))
sys.settrace(None)
"""


def test_killed_at_any_line_it_opens_again_and_a_retry_succeeds(tmp_path: Path) -> None:
    killed = 0
    for step in range(1, 400, 7):
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path / str(step)), str(step)], cwd=ROOT)
        done = writer.wait()
        store = BlobStore(tmp_path / str(step))
        assert [name for name in leftovers(tmp_path / str(step)) if not name.endswith(".partial")] == []
        for digest in store:
            with store.open(digest) as file:
                assert hashlib.sha256(file.read()).hexdigest() == digest.hex
        with store.ingest(DIGEST) as blob:
            blob.write(CONTENT[blob.offset :])
        assert store.has(DIGEST)
        assert (tmp_path / str(step) / "oci-layout").read_text() == '{"imageLayoutVersion":"1.0.0"}'
        if done == 0:
            break
        assert done == -signal.SIGKILL
        killed += 1
    else:
        pytest.fail("the writer never came to its end: raise the number of steps")
    assert killed > 10
