"""`docker logs`: whole, followed, from and until a moment, the last lines, with times, and through a rotation."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests import engines
from tests.e2e.engine.clients import IMAGE

if TYPE_CHECKING:
    from tests.e2e.engine.clients import Daemon

_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) (.*)")


@pytest.fixture
def spoken(daemon: Daemon) -> str:
    """Run a container that has said four lines, with a gap after the second."""
    script = "echo one; sleep 0.1; echo two >&2; sleep 1.2; echo three; sleep 0.1; echo four >&2"
    daemon.docker("run", "--name", "web", IMAGE, "sh", "-c", script)
    return "web"


def test_both_streams_apart(daemon: Daemon, spoken: str) -> None:
    ended = daemon.docker("logs", spoken)
    assert (ended.stdout, ended.stderr) == ("one\nthree\n", "two\nfour\n")


def test_times_and_what_is_asked_by_them(daemon: Daemon, spoken: str) -> None:
    ended = daemon.docker("logs", "-t", spoken)
    rows = [_STAMP.fullmatch(line) for line in sorted((ended.stdout + ended.stderr).splitlines())]
    assert all(rows)
    stamps = [row[1] for row in rows if row]
    assert [row[2] for row in rows if row] == ["one", "two", "three", "four"]
    assert datetime.fromisoformat(stamps[2][:26]) > datetime.fromisoformat(stamps[1][:26])
    since = daemon.docker("logs", "--since", stamps[2], spoken)
    assert (since.stdout, since.stderr) == ("three\n", "four\n")
    until = daemon.docker("logs", "--until", stamps[1], spoken)
    assert (until.stdout, until.stderr) == ("one\n", "two\n")
    both = daemon.docker("logs", "--since", stamps[1], "--until", stamps[2], spoken)
    assert (both.stdout, both.stderr) == ("three\n", "two\n")
    assert daemon.docker("logs", "--since", "1h", spoken).stdout == "one\nthree\n"
    assert daemon.docker("logs", "--until", "1h", spoken).stdout == ""
    seconds = str(int(datetime.fromisoformat(stamps[0][:26] + "+00:00").timestamp()) + 3600)
    assert daemon.docker("logs", "--since", seconds, spoken).stdout == ""


@pytest.mark.parametrize(
    ("tail", "out", "err"),
    [
        ("1", "", "four\n"),
        ("2", "three\n", "four\n"),
        ("0", "", ""),
        ("all", "one\nthree\n", "two\nfour\n"),
        ("99", "one\nthree\n", "two\nfour\n"),
    ],
)
def test_the_last_lines(daemon: Daemon, spoken: str, tail: str, out: str, err: str) -> None:
    ended = daemon.docker("logs", "-n", tail, spoken)
    assert (ended.stdout, ended.stderr) == (out, err)


def test_following_ends_with_the_container(daemon: Daemon) -> None:
    script = "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done"
    daemon.docker("run", "-d", "--name", "web", IMAGE, "sh", "-c", script)
    assert daemon.docker("logs", "-f", "web", seconds=30).stdout.split() == ["1", "2", "3", "4", "5"]
    assert daemon.docker("logs", "-f", "--tail", "1", "web", seconds=30).stdout.split() == ["5"]


def test_following_sees_each_line_at_once(daemon: Daemon) -> None:
    daemon.docker(
        "run", "-d", "-i", "--name", "web", IMAGE, "sh", "-c", "while read l; do echo $l; done; exec sleep 9000"
    )
    talk = daemon.start("attach", "web")
    follow = daemon.start("logs", "-f", "web")
    assert talk.stdin is not None
    assert follow.stdout is not None
    for word in (b"first\n", b"second\n"):
        talk.stdin.write(word)
        talk.stdin.flush()
        assert follow.stdout.readline() == word
    for process in (talk, follow):
        process.kill()
        process.communicate()


def test_followers_neither_miss_nor_repeat_a_line_through_a_rotation(embedded: Daemon) -> None:
    """Only we promise it: dockerd 26.1 drops thousands of these lines."""
    daemon = embedded
    script = "for i in $(seq 20000); do echo $i 0123456789012345678901234567890123456789; done"
    options = ("--log-opt", "max-size=100k", "--log-opt", "max-file=20")
    daemon.docker("create", "--name", "web", *options, IMAGE, "sh", "-c", script)
    daemon.docker("start", "web")
    out = daemon.docker("logs", "-f", "web", seconds=60).stdout
    assert [int(line.split()[0]) for line in out.splitlines()] == list(range(1, 20001))


def test_a_line_without_end_long_lines_and_bytes_that_are_no_text(daemon: Daemon) -> None:
    script = "printf 'no end'"
    daemon.docker("run", "--name", "aa", IMAGE, "sh", "-c", script)
    assert daemon.docker("logs", "aa").stdout == "no end"
    daemon.docker("run", "--name", "bb", IMAGE, "sh", "-c", "head -c 50000 /dev/zero | tr '\\0' x; echo")
    assert daemon.docker("logs", "bb").stdout == "x" * 50000 + "\n"
    assert len(daemon.docker("logs", "-t", "bb").stdout) > 50000
    daemon.docker("run", "--name", "cc", IMAGE, "sh", "-c", r"printf 'a\000b\rc\n'; echo; echo")
    import subprocess

    raw = subprocess.run(daemon.argv("logs", "cc"), check=True, capture_output=True, env=daemon.environment()).stdout
    assert raw == b"a\0b\rc\n\n\n"


def test_a_terminal_s_log_is_as_it_was(daemon: Daemon) -> None:
    daemon.docker("run", "-t", "--name", "web", IMAGE, "sh", "-c", "echo out; echo err >&2")
    assert daemon.docker("logs", "web").stdout == "out\nerr\n"  # the text mode reads \r\n as \n


def test_details_show_what_was_asked_to_be_shown(daemon: Daemon) -> None:
    daemon.docker(
        "run",
        "--name",
        "web",
        "-e",
        "A=1",
        "--log-opt",
        "env=A",
        "--log-opt",
        "labels=l",
        "-l",
        "l=2",
        IMAGE,
        "echo",
        "hi",
    )
    assert daemon.out("logs", "--details", "web") == "A=1,l=2 hi"


def test_the_log_outlives_restarts_and_goes_with_the_container(daemon: Daemon) -> None:
    daemon.docker("run", "--name", "web", IMAGE, "echo", "run")
    daemon.docker("start", "-a", "web")
    assert daemon.lines("logs", "web") == ["run", "run"]
    daemon.docker("rm", "web")
    daemon.docker("create", "--name", "web", IMAGE, "true")
    assert daemon.docker("logs", "web").stdout == ""


def test_a_log_that_is_asked_wrongly(daemon: Daemon, spoken: str) -> None:
    assert daemon.fails("logs", "--since", "nonsense", spoken)
    status, answer = daemon.engine.api("GET", f"/containers/{spoken}/logs")
    assert (status, answer["message"]) == (400, "Bad parameters: you must choose at least one stream")


def test_a_program_at_full_speed_loses_no_line_and_the_daemon_still_answers(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "loud", IMAGE, "seq", "300000")
    begun = time.monotonic()
    daemon.docker("ps")
    assert time.monotonic() - begun < 10
    engines.wait_until(lambda: daemon.state("loud") == "exited", "its end", 60)
    assert daemon.docker("logs", "loud").stdout == "".join(f"{number}\n" for number in range(1, 300001))
