"""What a client has not taken yet: in order, whole, and bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from declarative.engine.runtime import backlog
from declarative.engine.runtime.backlog import Backlog
from declarative.engine.runtime.streams import STDERR, STDOUT, Chunk

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MEMORY_MAX", 20)
    monkeypatch.setattr(backlog, "FILE_MAX", 100)


@given(st.lists(st.one_of(st.none(), st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(min_size=1, max_size=30)))))
def test_what_goes_in_comes_out(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, bytes] | None]
) -> None:
    """A step puts a chunk, or takes one; chunks of one stream may come out joined, and nothing else changes."""
    log = Backlog(tmp_path_factory.getbasetemp() / "backlog")
    expected: list[tuple[int, int]] = []
    found: list[tuple[int, int]] = []

    def take() -> bool:
        chunk = log.take()
        if chunk is not None:
            found.extend((chunk.stream, byte) for byte in chunk.data)
        return chunk is not None

    for step in steps:
        if step is None:
            take()
        else:
            log.put(Chunk(stream=step[0], data=step[1]))
            expected.extend((step[0], byte) for byte in step[1])
        assert log.size == len(expected) - len(found)
    while take():
        pass
    assert found == expected
    assert not log.is_full
    log.close()


def test_it_is_full_beyond_memory_and_file(tmp_path: Path) -> None:
    log = Backlog(tmp_path)
    while not log.is_full:
        log.put(Chunk(stream=STDOUT, data=b"x" * 10))
    assert log.size == 130
    log.take()
    assert not log.is_full
    log.close()
    assert (log.size, log.take()) == (0, None)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_full_backlog_and_loses_nothing(tmp_path: Path) -> None:
    log = Backlog(tmp_path / "file")
    (tmp_path / "file").write_text("in the way of the folder")
    chunks = [bytes([number]) * 9 for number in range(6)]
    for data in chunks:
        log.put(Chunk(stream=STDOUT, data=data))
    assert log.is_full
    (tmp_path / "file").unlink()
    found = b""
    while chunk := log.take():
        found += chunk.data
    assert found == b"".join(chunks)
    assert not log.is_full
    log.put(Chunk(stream=STDOUT, data=b"x" * 50))
    taken = log.take()
    assert taken is not None
    assert len(taken.data) == 50


def test_a_disk_that_fills_while_the_file_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Backlog(tmp_path)
    for number in range(4):
        log.put(Chunk(stream=STDOUT, data=bytes([number]) * 9))
    monkeypatch.setattr(backlog.Backlog, "_spill", lambda *_: False)
    for number in range(4, 6):
        log.put(Chunk(stream=STDERR, data=bytes([number]) * 9))
    assert log.is_full
    found = b""
    while chunk := log.take():
        found += chunk.data
    assert found == b"".join(bytes([number]) * 9 for number in range(6))
