"""Streams of containers: nothing missed, nothing mixed up, input with an end, terminals; clients that are slow, many, or gone."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from declarative.engine.runtime.oci import StartRefused
from declarative.engine.runtime.sandbox import Process
from declarative.engine.runtime.streams import STDERR, STDOUT
from declarative.errors import NotFound, Unavailable
from tests.contract.engine.runtimes import ENVIRONMENT, PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from declarative.engine.runtime.sessions import Session
    from declarative.engine.runtime.streams import Attachment
    from tests.contract.engine.runtimes import Machine

MIB = 1 << 20


def test_a_client_that_came_before_the_start_misses_nothing(box: Machine) -> None:
    made = box.shell("echo out; echo err >&2; printf end")
    box.runtime.create(made, log=box.log(made.id))
    with box.runtime.attach(made.id) as client:
        box.runtime.start(made.id)
        assert _all(client) == {STDOUT: b"out\nend", STDERR: b"err\n"}


def test_no_program_runs_before_its_monitor_knows_of_the_client(box: Machine) -> None:
    """A monitor that notices the end before the client passes nothing on: `docker run` printed nothing, once in some thousand."""
    made = box.shell("echo out")
    box.runtime.create(made, log=box.log(made.id))
    monitor = int((box.runtime.folder(made.id) / "monitor.pid").read_text())
    os.kill(monitor, signal.SIGSTOP)
    try:
        with box.runtime.attach(made.id) as client:
            start = threading.Thread(target=box.runtime.start, args=(made.id,))
            start.start()
            start.join(0.3)
            waited = start.is_alive()
            os.kill(monitor, signal.SIGCONT)
            assert _all(client) == {STDOUT: b"out\n"}
            start.join()
    finally:
        os.kill(monitor, signal.SIGCONT)
    assert waited


def test_a_monitor_that_ends_before_it_knows_of_the_client_holds_nobody_up(box: Machine) -> None:
    made = box.shell("echo out")
    box.runtime.create(made, log=box.log(made.id))
    monitor = int((box.runtime.folder(made.id) / "monitor.pid").read_text())
    os.kill(monitor, signal.SIGSTOP)
    with box.runtime.attach(made.id) as client:
        os.kill(monitor, signal.SIGKILL)
        began = time.monotonic()
        with contextlib.suppress(NotFound):  # it may be noticed only later
            box.runtime.start(made.id)
        assert time.monotonic() - began < PATIENCE_SECONDS / 2
        assert _all(client) == {}


def test_one_streams_bytes_keep_their_order(box: Machine) -> None:
    made = box.shell("seq 1 200000")
    box.runtime.create(made, log=box.log(made.id))
    with box.runtime.attach(made.id) as client:
        box.runtime.start(made.id)
        output = _all(client)[STDOUT]
    assert output == b"".join(b"%d\n" % number for number in range(1, 200001))
    box.ended(made.id)
    assert box.logged(made.id).encode() == output


def test_a_hundred_megabytes_come_through_whole(box: Machine) -> None:
    made = box.shell(f"head -c {100 * MIB} /dev/zero; echo end >&2")
    box.runtime.create(made, log=None)
    with box.runtime.attach(made.id) as client:
        box.runtime.start(made.id)
        size = 0
        errors = b""
        while chunk := client.read():
            size += len(chunk.data) if chunk.stream == STDOUT else 0
            errors += chunk.data if chunk.stream == STDERR else b""
    assert size == 100 * MIB
    assert errors == b"end\n"


def test_input_goes_in_and_ends(box: Machine) -> None:
    made = box.shell("sort; echo ended")
    box.runtime.create(made, log=box.log(made.id), stdin=True)
    with box.runtime.attach(made.id) as client:
        box.runtime.start(made.id)
        client.write(b"b\na\n")
        client.write(b"c\n")
        client.close_input()
        assert _all(client)[STDOUT] == b"a\nb\nc\nended\n"


def test_much_input_to_a_process_that_reads_slowly(box: Machine) -> None:
    made = box.shell("sleep 0.5; wc -c")
    box.runtime.create(made, log=box.log(made.id), stdin=True)
    with box.runtime.attach(made.id) as client:
        box.runtime.start(made.id)
        for _ in range(20):
            client.write(b"x" * MIB)
        client.close_input()
        assert _all(client)[STDOUT].split() == [str(20 * MIB).encode()]


def test_a_process_that_reads_no_input_still_writes(box: Machine) -> None:
    made = box.shell("seq 1 50000; sleep 1000")
    box.runtime.create(made, log=box.log(made.id), stdin=True)
    client = box.runtime.attach(made.id)
    refused = threading.Event()

    def feed() -> None:
        try:
            while True:
                client.write(b"x" * 65536)
        except Unavailable:
            refused.set()

    feeder = threading.Thread(target=feed)
    feeder.start()
    box.runtime.start(made.id)
    output = b""
    while not output.endswith(b"\n50000\n"):
        chunk = client.read()
        assert chunk is not None
        output += chunk.data
    box.runtime.kill(made.id)
    feeder.join(PATIENCE_SECONDS)
    assert refused.is_set()
    client.close()


def test_looking_on_does_not_end_the_input(box: Machine) -> None:
    """Conmon ends the input when any connection of its ends."""
    made = box.shell("cat; echo ended")
    box.runtime.create(made, log=box.log(made.id), stdin=True)
    typist = box.runtime.attach(made.id)
    box.runtime.start(made.id)
    for _ in range(3):
        box.runtime.attach(made.id).close()
    typist.write(b"still here\n")
    wait_until(lambda: "still here" in box.logged(made.id), "the input", PATIENCE_SECONDS)
    typist.close()  # nobody is left, and nobody ended the input
    later = box.runtime.attach(made.id)
    later.write(b"and here\n")
    wait_until(lambda: "and here" in box.logged(made.id), "the input", PATIENCE_SECONDS)
    later.close_input()
    box.ended(made.id)
    later.close()
    assert box.logged(made.id) == "still here\nand here\nended\n"


def test_an_input_that_stays_open_outlives_clients(box: Machine) -> None:
    made = box.shell("read a; read b; echo $a $b")
    box.runtime.create(made, log=box.log(made.id), stdin=True, leave_stdin_open=True)
    box.runtime.start(made.id)
    for line in (b"one\n", b"two\n"):
        with box.runtime.attach(made.id) as client:
            client.write(line)
            client.close_input()
    box.ended(made.id)
    assert box.logged(made.id) == "one two\n"


def test_several_clients_see_the_same(box: Machine) -> None:
    made = box.shell("read go; seq 1 20000; echo end >&2")
    box.runtime.create(made, log=box.log(made.id), stdin=True)
    clients = [box.runtime.attach(made.id) for _ in range(5)]
    box.runtime.start(made.id)
    clients[0].write(b"go\n")
    seen = [_all(client) for client in clients]
    assert seen[0][STDOUT].endswith(b"\n20000\n")
    assert all(one == seen[0] for one in seen)
    for client in clients:
        client.close()


def test_a_client_that_does_not_read_holds_nobody_up(box: Machine) -> None:
    made = box.shell(f"head -c {40 * MIB} /dev/zero; exit 4")
    box.runtime.create(made, log=None)
    idle, busy = box.runtime.attach(made.id), box.runtime.attach(made.id)
    box.runtime.start(made.id)
    assert len(_all(busy)[STDOUT]) == 40 * MIB
    assert box.ended(made.id).code == 4
    # what it did not read waits for it, even after the container is gone
    box.drop(made.id)
    assert len(_all(idle)[STDOUT]) == 40 * MIB
    idle.close()
    busy.close()


def test_a_client_that_is_too_far_behind_holds_the_process_up_and_loses_nothing(
    box: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("declarative.engine.runtime.backlog.FILE_MAX", 4 * MIB)
    made = box.shell(f"head -c {40 * MIB} /dev/zero; exit 4")
    box.runtime.create(made, log=None)
    client = box.runtime.attach(made.id)
    box.runtime.start(made.id)
    time.sleep(0.5)
    assert box.runtime.state(made.id).status == "running"
    assert len(_all(client)[STDOUT]) == 40 * MIB
    client.close()
    assert box.ended(made.id).code == 4


def test_closing_wakes_a_reader(box: Machine) -> None:
    name = box.start(box.sandbox("sleep", "1000"))
    client = box.runtime.attach(name)
    got: list[object] = [...]
    reader = threading.Thread(target=lambda: got.append(client.read()))
    reader.start()
    time.sleep(0.1)
    client.close()
    reader.join(PATIENCE_SECONDS)
    assert got == [..., None]


def test_the_same_name_again_has_its_own_streams(box: Machine) -> None:
    for number in range(3):
        made = box.shell(f"echo {number}", name=f"again{number}")
        box.runtime.create(made, log=None)
        with box.runtime.attach(made.id) as client:
            box.runtime.start(made.id)
            box.ended(made.id)
            box.runtime.delete(made.id)
            box.runtime.create(made, log=None)
            with box.runtime.attach(made.id) as second:
                box.runtime.start(made.id)
                assert _all(second)[STDOUT] == f"{number}\n".encode()
            assert _all(client)[STDOUT] == f"{number}\n".encode()


def test_a_terminal(box: Machine) -> None:
    made = box.shell("tty; read line; stty size; echo got $line", terminal=True)
    box.runtime.create(made, log=box.log(made.id), stdin=True, leave_stdin_open=True)
    with box.runtime.attach(made.id) as client:
        box.runtime.resize(made.id, 33, 101)
        box.runtime.start(made.id)
        time.sleep(0.2)
        box.runtime.resize(made.id, 44, 102)
        time.sleep(0.2)
        client.write(b"typed\n")
        output = _all(client)[STDOUT].decode()
    assert "/dev/pts/0\r\n" in output
    assert "44 102\r\n" in output
    assert "got typed\r\n" in output
    box.ended(made.id)
    with pytest.raises(NotFound):
        box.runtime.resize(made.id, 1, 1)


def test_a_terminal_has_its_size_from_before_the_start(box: Machine) -> None:
    made = box.shell("stty size", terminal=True)
    box.runtime.create(made, log=box.log(made.id), stdin=True)
    box.runtime.resize(made.id, 33, 101)
    time.sleep(0.3)
    box.runtime.start(made.id)
    box.ended(made.id)
    assert box.logged(made.id) == "33 101\r\n"


def _all(client: Attachment) -> dict[int, bytes]:
    found: dict[int, list[bytes]] = {}
    while chunk := client.read():
        found.setdefault(chunk.stream, []).append(chunk.data)
    return {stream: b"".join(parts) for stream, parts in found.items()}


class TestSessions:
    """Streams of `docker exec`: a child of ours under crun, a monitor under runc and for terminals."""

    def test_input_output_and_exit_code(self, box: Machine) -> None:
        name = box.start(box.sandbox("sleep", "1000"))
        session = _session(box, name, "cat; echo err >&2; exit 3", stdin=True)

        def write() -> None:
            for _ in range(5):
                session.attachment.write(b"x" * MIB)
            session.attachment.write(b"\n")
            session.attachment.close_input()

        writer = threading.Thread(target=write)
        writer.start()
        output = _all(session.attachment)
        writer.join()
        assert (len(output[STDOUT]), output[STDERR]) == (5 * MIB + 1, b"err\n")
        assert session.wait(PATIENCE_SECONDS) == 3
        with pytest.raises(Unavailable):
            session.attachment.write(b"late")
        session.close()

    def test_a_session_ends_with_its_process_whoever_holds_its_streams(self, box: Machine) -> None:
        name = box.start(box.sandbox("sleep", "1000"))
        session = _session(box, name, "sleep 1000 & echo done", stdin=False)
        assert _all(session.attachment)[STDOUT] == b"done\n"
        assert session.wait(PATIENCE_SECONDS) == 0
        session.close()
        assert len(box.runtime.pids(name)) == 2

    def test_all_output_of_a_process_that_has_ended_is_read(self, box: Machine) -> None:
        name = box.start(box.sandbox("sleep", "1000"))
        session = _session(box, name, "seq 1 5000", stdin=False)
        assert session.wait(PATIENCE_SECONDS) == 0
        assert _all(session.attachment)[STDOUT].endswith(b"\n5000\n")
        assert session.attachment.read() is None
        assert select.select([session.attachment], [], [], 5)[0], "the end can be polled for"
        session.close()

    def test_signals_and_the_end_of_the_container(self, box: Machine) -> None:
        name = box.start(box.sandbox("sleep", "1000"))
        session = _session(box, name, "sleep 1000", stdin=False)
        assert session.wait(0.1) is None
        assert session.pid in box.runtime.pids(name)
        session.kill(15)
        assert session.wait(PATIENCE_SECONDS) == 143
        session.kill(15)
        session.close()
        session = _session(box, name, "sleep 1000", stdin=False)
        box.runtime.kill(name)
        assert _all(session.attachment) == {}
        assert session.wait(PATIENCE_SECONDS) == 137
        session.close()

    def test_closing_wakes_a_reader(self, box: Machine) -> None:
        name = box.start(box.sandbox("sleep", "1000"))
        session = _session(box, name, "sleep 1000", stdin=True)
        got: list[object] = [...]
        reader = threading.Thread(target=lambda: got.append(session.attachment.read()))
        reader.start()
        time.sleep(0.1)
        session.attachment.close()
        reader.join(PATIENCE_SECONDS)
        assert got == [..., None]
        session.kill()
        assert session.wait(PATIENCE_SECONDS) == 137
        session.close()

    def test_a_terminal(self, box: Machine) -> None:
        name = box.start(box.sandbox("sleep", "1000"))
        session = _session(box, name, "read line; stty size; tty", stdin=True, terminal=True)
        session.resize(21, 99)
        time.sleep(0.2)
        session.attachment.write(b"\n")
        output = _all(session.attachment)[STDOUT].decode()
        assert "21 99\r\n/dev/pts/0\r\n" in output
        assert session.wait(PATIENCE_SECONDS) == 0
        session.close()

    def test_what_cannot_run_is_refused_and_leaves_nothing(self, box: Machine) -> None:
        name = box.start(box.sandbox("sleep", "1000"))
        for program, code in (("nowhere", 127), ("/etc/passwd", 126)):
            with pytest.raises(StartRefused) as caught:
                box.runtime.exec(name, "bad", Process(args=(program,), env=ENVIRONMENT), stdin=False)
            assert caught.value.code == code
        assert list((box.folder / "run/exec").iterdir()) == []

    def test_many_at_once(self, box: Machine) -> None:
        name = box.start(box.sandbox("sleep", "1000"))
        codes: dict[int, int] = {}

        def run(number: int) -> None:
            codes[number] = box.execute(name, "sh", "-c", f"exit {number}", session=f"many{number}")[0]

        threads = [threading.Thread(target=run, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert codes == {number: number for number in range(12)}


def _session(box: Machine, name: str, script: str, *, stdin: bool, terminal: bool = False) -> Session:
    process = Process(args=("sh", "-c", script), env=ENVIRONMENT, terminal=terminal)
    return box.runtime.exec(name, f"s{time.monotonic_ns()}", process, stdin=stdin)
