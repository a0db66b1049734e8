"""Logs read as Docker gives them: frames, times, the last lines, what is left out; rotated while they are read."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from declarative.dockerapi.streams import encode_frame
from declarative.engine.runtime import logs
from declarative.engine.runtime.logformat import Encoder, Wanted, timestamp
from declarative.engine.runtime.rotation import Policy, Rotation, rotate
from declarative.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_SECOND = 1_000_000_000
_BEGIN = int(datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC).timestamp()) * _SECOND
_PLAIN = Wanted(framed=False)


def _entry(second: float, stream: str, text: str, *, whole: bool = True, offset: str = "+00:00") -> bytes:
    """Give an entry as conmon writes it, `second` seconds after the beginning."""
    at = _BEGIN + int(second * _SECOND)
    sign = -1 if offset[0] == "-" else 1
    shift = sign * (int(offset[1:3]) * 3600 + int(offset[4:6]) * 60)
    moment = datetime.fromtimestamp(at // _SECOND + shift, UTC)
    kind = f"{stream} {'F' if whole else 'P'}"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at % _SECOND:09}{offset} {kind} {text}\n".encode()


def _log(folder: Path, entries: Iterable[bytes]) -> Path:
    path = folder / "log"
    path.write_bytes(b"".join(entries))
    return path


def _read(path: Path, wanted: Wanted = _PLAIN, tail: int | None = None) -> bytes:
    return b"".join(logs.read_log(path, wanted, tail=tail))


def test_frames_are_dockers(tmp_path: Path) -> None:
    long = "x" * 8192
    entries = [
        _entry(0, "stdout", "one"),
        _entry(1, "stderr", "two"),
        _entry(2, "stdout", ""),
        _entry(3, "stdout", long),
        _entry(4, "stderr", "half", whole=False),
        _entry(5, "stderr", "whole"),
    ]
    expected = [("stdout", "one\n"), ("stderr", "two\n"), ("stdout", "\n"), ("stdout", f"{long}\n")]
    expected += [("stderr", "half"), ("stderr", "whole\n")]
    frames = b"".join(encode_frame(stream, text.encode()) for stream, text in expected)  # type: ignore[arg-type]
    assert _read(_log(tmp_path, entries), Wanted()) == frames
    # blocks without halves take a shorter way
    assert _read(_log(tmp_path, entries[:4]), Wanted()) == frames[: len(frames) - 8 - 8 - len("halfwhole\n")]


def test_times_are_in_utc_with_nine_digits_once_for_each_line(tmp_path: Path) -> None:
    path = _log(
        tmp_path,
        [
            _entry(0.5, "stdout", "first, ", whole=False),
            _entry(0.75, "stderr", "between"),
            _entry(1, "stdout", "and last"),
            _entry(2, "stdout", "elsewhere", offset="-03:30"),
        ],
    )
    assert _read(path, Wanted(framed=False, timestamps=True)).decode() == (
        "2026-03-04T05:06:07.500000000Z first, "
        "2026-03-04T05:06:07.750000000Z between\n"
        "and last\n"
        "2026-03-04T05:06:09.000000000Z elsewhere\n"
    )


def test_streams_and_times_that_are_not_wanted_are_left_out(tmp_path: Path) -> None:
    path = _log(tmp_path, [_entry(n, "stderr" if n % 2 else "stdout", str(n)) for n in range(10)])
    assert _read(path, Wanted(framed=False, stderr=False)) == b"0\n2\n4\n6\n8\n"
    assert _read(path, Wanted(framed=False, stdout=False)) == b"1\n3\n5\n7\n9\n"
    assert _read(path, Wanted(framed=False, since=_BEGIN + 7 * _SECOND)) == b"7\n8\n9\n"
    assert _read(path, Wanted(framed=False, since=_BEGIN + 7 * _SECOND + 1)) == b"8\n9\n"
    assert _read(path, Wanted(framed=False, until=_BEGIN + 2 * _SECOND)) == b"0\n1\n2\n"
    both = Wanted(framed=False, since=_BEGIN + 2 * _SECOND, until=_BEGIN + 4 * _SECOND, stderr=False)
    assert _read(path, both) == b"2\n4\n"


def test_times_are_compared_across_offsets(tmp_path: Path) -> None:
    """A machine that changes to summer time goes on in the same file."""
    entries = [_entry(0, "stdout", "a", offset="+01:00"), _entry(10, "stdout", "b", offset="+02:00")]
    path = _log(tmp_path, entries)
    assert _read(path, Wanted(framed=False, since=_BEGIN + 5 * _SECOND)) == b"b\n"
    assert _read(path, Wanted(framed=False, until=_BEGIN + 5 * _SECOND)) == b"a\n"
    assert timestamp(entries[1]) == b"2026-03-04T05:06:17.000000000Z"


@pytest.mark.parametrize("tail", [0, 1, 2, 3, 5, 999, 1000, 1001, 5000])
def test_the_last_lines(tmp_path: Path, tail: int) -> None:
    lines = [f"line {number} {'x' * (number % 300)}\r" for number in range(1000)]
    path = _log(tmp_path, [_entry(n, "stdout", line) for n, line in enumerate(lines)])
    expected = "".join(f"{line}\n" for line in lines[max(1000 - tail, 0) :])
    assert _read(path, tail=tail).decode() == expected


def test_the_last_lines_are_whole_and_an_open_one_counts(tmp_path: Path) -> None:
    pieces = [_entry(n, "stdout", "y" * 8000, whole=False) for n in range(20)]
    path = _log(tmp_path, [_entry(0, "stdout", "before"), *pieces, _entry(1, "stdout", "end")])
    assert _read(path, tail=1) == b"y" * 160_000 + b"end\n"
    assert _read(path, tail=2).startswith(b"before\ny")
    path = _log(tmp_path, [_entry(0, "stdout", "before"), *pieces])
    assert _read(path, tail=1) == b"y" * 160_000
    assert _read(path, tail=2).startswith(b"before\ny")


def test_the_last_lines_reach_into_older_files(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for number in range(5):
        path.write_bytes(b"".join(_entry(n, "stdout", f"{number}.{n}") for n in range(3)))
        if number < 4:
            rotate(path, 5)
    assert [file.name for file in logs.files(path)] == ["log.4", "log.3", "log.2", "log.1", "log"]
    assert _read(path).split()[:4] == [b"0.0", b"0.1", b"0.2", b"1.0"]
    for tail in range(17):
        assert _read(path, tail=tail).split() == [f"{n // 3}.{n % 3}".encode() for n in range(15)][max(15 - tail, 0) :]


def test_what_is_no_entry_is_passed_over(tmp_path: Path) -> None:
    good = [_entry(0, "stdout", "good"), _entry(1, "stdout", "again")]
    path = _log(
        tmp_path, [good[0], b"\0" * 100 + b"\n", b"\n", b"short\n", b"x" * 60 + b"\n", good[1], b"2026-03-04T0"]
    )
    assert _read(path) == b"good\nagain\n"
    assert _read(path, Wanted(timestamps=True, framed=False, since=1)).count(b"Z ") == 2


def test_there_may_be_no_log(tmp_path: Path) -> None:
    assert _read(tmp_path / "none") == b""
    assert list(logs.read_log(tmp_path / "none", Wanted(), ended=lambda: True)) == []


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=40)


@given(
    st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), _TEXT, st.booleans()), max_size=30),
    st.integers(1, 29),
)
def test_blocks_may_be_cut_between_any_entries(parts: list[tuple[str, str, bool]], cut: int) -> None:
    entries = [_entry(n, stream, text, whole=whole) for n, (stream, text, whole) in enumerate(parts)]
    for wanted in (Wanted(), _PLAIN, Wanted(timestamps=True), Wanted(stderr=False)):
        whole, pieces = Encoder(wanted), Encoder(wanted)
        together = pieces.encode(entries[:cut]) + pieces.encode(entries[cut:])
        assert whole.encode(entries) == together
    texts = "".join(text + ("\n" if whole else "") for _, text, whole in parts)
    assert Encoder(_PLAIN).encode(entries) == texts.encode()


class TestFollowing:
    """A reader and a writer at once."""

    def test_lines_come_as_they_are_written_and_end_with_the_writer(self, tmp_path: Path) -> None:
        path = _log(tmp_path, [_entry(0, "stdout", "old")])
        ended = threading.Event()
        reader = logs.read_log(path, _PLAIN, ended=ended.is_set)
        assert next(reader) == b"old\n"
        with path.open("ab") as file:
            file.write(_entry(1, "stdout", "new"))
        assert next(reader) == b"new\n"
        with path.open("ab") as file:
            file.write(_entry(2, "stdout", "last"))
        ended.set()
        assert list(reader) == [b"last\n"]

    def test_an_entry_that_is_half_written_waits_for_its_other_half(self, tmp_path: Path) -> None:
        entry = _entry(0, "stdout", "in two steps")
        path = _log(tmp_path, [entry[:50]])
        ended = threading.Event()
        reader = logs.read_log(path, _PLAIN, ended=ended.is_set)

        def finish() -> None:
            time.sleep(0.1)
            with path.open("ab") as file:
                file.write(entry[50:])

        threading.Thread(target=finish).start()
        assert next(reader) == b"in two steps\n"
        ended.set()
        assert list(reader) == []

    def test_a_reader_that_has_gone_is_let_go(self, tmp_path: Path) -> None:
        path = _log(tmp_path, [_entry(0, "stdout", "old")])
        gone = threading.Event()
        reader = logs.read_log(path, _PLAIN, ended=lambda: False, gone=gone.is_set)
        assert next(reader) == b"old\n"
        gone.set()
        assert list(reader) == []

    def test_until_ends_it(self, tmp_path: Path) -> None:
        path = _log(tmp_path, [_entry(0, "stdout", "early"), _entry(9, "stdout", "late")])
        wanted = Wanted(framed=False, until=_BEGIN + _SECOND)
        assert b"".join(logs.read_log(path, wanted, ended=lambda: False, clock=lambda: _BEGIN)) == b"early\n"
        path.write_bytes(_entry(0, "stdout", "early"))
        ticking = iter(range(_BEGIN, _BEGIN + 9 * _SECOND, _SECOND))
        assert b"".join(logs.read_log(path, wanted, ended=lambda: False, clock=lambda: next(ticking))) == b"early\n"

    def test_the_tail_and_what_follows(self, tmp_path: Path) -> None:
        path = _log(tmp_path, [_entry(n, "stdout", str(n)) for n in range(5)])
        assert b"".join(logs.read_log(path, _PLAIN, tail=0, ended=lambda: True)) == b""
        ended = threading.Event()
        reader = logs.read_log(path, _PLAIN, tail=1, ended=ended.is_set)
        assert next(reader) == b"4\n"
        with path.open("ab") as file:
            file.write(_entry(5, "stdout", "5"))
        ended.set()
        assert b"".join(reader) == b"5\n"

    @pytest.mark.parametrize("slow", [0.0, 0.05])
    def test_nothing_is_missed_or_repeated_through_rotations(self, tmp_path: Path, slow: float) -> None:
        """However far behind a reader is, what it holds is not taken from it."""
        path = tmp_path / "log"
        path.touch()
        ended = threading.Event()
        writer = threading.Thread(target=_write_and_rotate, args=(path, ended, 40 if slow == 0 else 8))
        reader = logs.read_log(path, _PLAIN, ended=ended.is_set)
        writer.start()
        seen = []
        for block in reader:
            seen += block.split()
            time.sleep(slow)
        writer.join()
        numbers = [int(word) for word in seen]
        assert numbers == sorted(set(numbers)), "repeated, or out of order"
        if slow == 0:
            assert numbers[-1] == 40 * 200 - 1


def test_a_follower_reads_on_where_the_monitor_ended_before_it_opened_its_log_again(tmp_path: Path) -> None:
    path = _log(tmp_path, [_entry(1, "stdout", "one")])
    follower = logs.read_log(path, _PLAIN, ended=lambda: True)
    assert next(follower) == b"one\n"
    for text in ("two", "three"):
        rotate(path, 5)
        path.write_bytes(_entry(2, "stdout", text))
    rotate(path, 5)
    assert b"".join(follower) == b"two\nthree\n"


def _write_and_rotate(path: Path, ended: threading.Event, rounds: int) -> None:
    """Write as a monitor does: to the file that it has open, to the new one once it has been told."""
    for number in range(rounds):
        with path.open("ab", buffering=0) as file:
            for line in range(100):
                file.write(_entry(0, "stdout", str(number * 200 + line)))
            if number < rounds - 1:
                rotate(path, 100)
            for line in range(100, 200):
                file.write(_entry(0, "stdout", str(number * 200 + line)))
    ended.set()


class TestRotation:
    """The thread that rotates."""

    def test_files_have_their_size_and_their_number(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        writer = _Monitor(path)
        rotation = Rotation()
        rotation.add("c", path, Policy(max_size=20_000, max_files=3), writer.reopen)
        for number in range(3000):
            writer.write(_entry(0, "stdout", f"{number:05}"))
            time.sleep(0.0005)
        rotation.close()
        writer.close()
        found = logs.files(path)
        assert 2 <= len(found) <= 4  # the surplus one goes at the next look
        assert all(file.stat().st_size < 60_000 for file in found)
        numbers = [int(word) for word in _read(path).split()]
        assert numbers == list(range(numbers[0], 3000)), "kept lines are without a gap"

    def test_one_file_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        writer = _Monitor(path)
        writer.write(_entry(0, "stdout", "x" * 5000))
        rotation = Rotation()
        rotation.add("c", path, Policy(max_size=1000, max_files=1), writer.reopen)
        _wait(lambda: path.stat().st_size == 0)
        writer.write(_entry(0, "stdout", "new"))
        _wait(lambda: logs.files(path) == [path])
        rotation.close()
        writer.close()
        assert _read(path) == b"new\n"

    def test_a_rotation_that_was_cut_short_is_finished(self, tmp_path: Path) -> None:
        """We were killed between renaming the file and telling the monitor."""
        path = tmp_path / "log"
        writer = _Monitor(path)
        writer.write(_entry(0, "stdout", "before"))
        path.rename(tmp_path / "log.1")
        rotation = Rotation()
        rotation.add("c", path, Policy(max_size=1000, max_files=2), writer.reopen)
        _wait(path.exists)
        writer.write(_entry(0, "stdout", "after"))
        rotation.close()
        writer.close()
        assert _read(path) == b"before\nafter\n"

    def test_a_monitor_that_has_ended_does_no_harm(self, tmp_path: Path) -> None:
        path = _log(tmp_path, [_entry(0, "stdout", "x" * 5000)])

        def ended() -> None:
            raise NotFound("monitor", "has ended")

        rotation = Rotation()
        rotation.add("c", path, Policy(max_size=10, max_files=2), ended)
        _wait(lambda: not path.exists())
        rotation.remove("c")
        rotation.close()
        assert len(_read(path)) == 5001


class _Monitor:
    """Writes a log as conmon does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file = path.open("ab", buffering=0)

    def write(self, entry: bytes) -> None:
        with self._lock:
            self._file.write(entry)

    def reopen(self) -> None:
        with self._lock:
            self._file.close()
            self._file = self._path.open("ab", buffering=0)

    def close(self) -> None:
        self._file.close()


def _wait(true: object) -> None:
    ends = time.monotonic() + 20
    while not true():  # type: ignore[operator]
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_a_log_whose_container_is_removed_before_it_is_followed_is_read_to_its_end(tmp_path: Path) -> None:
    folder = tmp_path / "container"
    folder.mkdir()
    path = _log(folder, [_entry(0, "stdout", "one")])
    blocks = logs.read_log(path, _PLAIN, ended=lambda: True)
    assert next(blocks) == b"one\n"
    with path.open("ab") as file:
        file.write(_entry(1, "stdout", "two"))
    path.rename(tmp_path / "gone")
    folder.rmdir()
    assert list(blocks) == [b"two\n"]


def test_a_log_that_is_gone_is_followed_to_nothing(tmp_path: Path) -> None:
    assert list(logs.read_log(tmp_path / "container" / "log", _PLAIN, ended=lambda: True)) == []
