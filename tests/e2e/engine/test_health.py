"""Health checks: when they run, what they count, and who learns of it."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import pytest

from tests import engines
from tests.e2e.engine.clients import FOREVER, IMAGE

if TYPE_CHECKING:
    from tests.e2e.engine.clients import Daemon

_FAST = ("--health-interval", "100ms", "--health-timeout", "5s", "--health-retries", "2")


def health(daemon: Daemon, name: str) -> str:
    return daemon.field(name, "{{.State.Health.Status}}")


def test_from_starting_to_healthy_to_unhealthy_and_back(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "web", "--health-cmd", "echo probed; test ! -e /sick", *_FAST, IMAGE, *FOREVER)
    daemon.wait_for("web", "{{.State.Health.Status}}", "healthy")
    assert "(healthy)" in daemon.out("ps", "--format", "{{.Status}}")
    daemon.sh("web", "touch /sick")
    daemon.wait_for("web", "{{.State.Health.Status}}", "unhealthy")
    found = daemon.inspect("web")["State"]["Health"]
    assert found["FailingStreak"] >= 2
    assert len(found["Log"]) <= 5
    assert (found["Log"][-1]["ExitCode"], found["Log"][-1]["Output"]) == (1, "probed\n")
    assert daemon.out("ps", "-q", "--filter", "health=unhealthy")
    assert not daemon.out("ps", "-q", "--filter", "health=healthy")
    daemon.sh("web", "rm /sick")
    daemon.wait_for("web", "{{.State.Health.Status}}", "healthy")
    assert daemon.field("web", "{{.State.Health.FailingStreak}}") == "0"


def test_failures_within_the_start_period_do_not_count(daemon: Daemon) -> None:
    options = (
        "--health-cmd",
        "test -e /ready",
        *_FAST,
        "--health-start-period",
        "60s",
        "--health-start-interval",
        "50ms",
    )
    daemon.docker("run", "-d", "--name", "web", *options, IMAGE, *FOREVER)
    engines.wait_until(lambda: len(daemon.inspect("web")["State"]["Health"]["Log"]) >= 4, "four probes", 20)
    assert daemon.field("web", "{{.State.Health.Status}} {{.State.Health.FailingStreak}}") == "starting 0"
    daemon.sh("web", "touch /ready")
    daemon.wait_for("web", "{{.State.Health.Status}}", "healthy")


def test_without_a_start_interval_the_start_period_has_no_slower_probes(daemon: Daemon) -> None:
    began = time.monotonic()
    daemon.docker(
        "run", "-d", "--name", "web", "--health-cmd", "true", *_FAST, "--health-start-period", "60s", IMAGE, *FOREVER
    )
    daemon.wait_for("web", "{{.State.Health.Status}}", "healthy")
    assert time.monotonic() - began < 4.5  # a start interval of its own would be 5 s


def test_a_probe_that_takes_too_long_fails(daemon: Daemon) -> None:
    options = (
        "--health-cmd",
        "sleep 60",
        "--health-interval",
        "100ms",
        "--health-timeout",
        "300ms",
        "--health-retries",
        "1",
    )
    daemon.docker("run", "-d", "--name", "web", *options, IMAGE, *FOREVER)
    daemon.wait_for("web", "{{.State.Health.Status}}", "unhealthy")
    last = daemon.inspect("web")["State"]["Health"]["Log"][-1]
    assert last["ExitCode"] == -1
    assert "Health check exceeded timeout (300ms)" in last["Output"]


def test_the_image_s_check_and_none(daemon: Daemon) -> None:
    daemon.docker(
        "build", "-t", "checked", "-", stdin=f"FROM {IMAGE}\nHEALTHCHECK --interval=100ms CMD true\nCMD sleep 9000\n"
    )
    daemon.docker("run", "-d", "--name", "web", "checked")
    daemon.wait_for("web", "{{.State.Health.Status}}", "healthy")
    daemon.docker("run", "-d", "--name", "off", "--no-healthcheck", "checked")
    assert daemon.field("off", "{{.State.Health}}") in {"<nil>", "<no value>"}
    assert "health" not in daemon.out("ps", "--filter", "name=off", "--format", "{{.Status}}")
    assert daemon.out("ps", "--format", "{{.Names}}", "--filter", "health=none") == "off"


def test_a_restart_begins_anew_and_a_pause_stops_probing(daemon: Daemon) -> None:
    script = "cut -d. -f1,2 /proc/uptime | cut -d' ' -f1 >> /probes"
    daemon.docker("run", "-d", "--name", "web", "--health-cmd", script, "--health-interval", "50ms", IMAGE, *FOREVER)

    def probes() -> list[float]:
        return [float(line) for line in daemon.docker("exec", "web", "cat", "/probes", check=False).stdout.split()]

    engines.wait_until(lambda: len(probes()) >= 3, "three probes", 20)
    daemon.docker("pause", "web")
    time.sleep(0.4)
    daemon.docker("unpause", "web")
    so_far = len(probes())
    engines.wait_until(lambda: len(probes()) > so_far, "another probe", 20)
    times = probes()
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) > 0.3
    daemon.docker("restart", "-t", "0", "web")
    assert health(daemon, "web") in {"starting", "healthy"}
    daemon.wait_for("web", "{{.State.Health.Status}}", "healthy")


def test_events_tell_of_health(daemon: Daemon) -> None:
    made = daemon.out("run", "-d", "--name", "web", "--health-cmd", "true", *_FAST, IMAGE, *FOREVER)
    daemon.wait_for("web", "{{.State.Health.Status}}", "healthy")
    asked = (f"container={made}", "event=health_status")
    engines.wait_until(lambda: bool(daemon.events(*asked)), "the event", 10)
    assert [event["Action"] for event in daemon.events(*asked)] == ["health_status: healthy"]


def test_the_first_probe_comes_after_one_interval(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "web", "--health-cmd", "true", "--health-interval", "1h", IMAGE, *FOREVER)
    time.sleep(0.3)
    assert daemon.field("web", "{{.State.Health.Status}} {{len .State.Health.Log}}") == "starting 0"


def test_the_container_keeps_what_was_asked(daemon: Daemon) -> None:
    daemon.docker("create", "--name", "web", "--health-cmd", "a b", *_FAST, IMAGE)
    check = daemon.inspect("web")["Config"]["Healthcheck"]
    assert check == {"Test": ["CMD-SHELL", "a b"], "Interval": 100_000_000, "Timeout": 5_000_000_000, "Retries": 2}


@pytest.mark.parametrize(
    "option", [("--health-interval", "1us"), ("--health-timeout", "-1s"), ("--health-retries", "-1")]
)
def test_a_check_that_makes_no_sense_is_refused(daemon: Daemon, option: tuple[str, str]) -> None:
    assert daemon.fails("create", "--health-cmd", "true", *option, IMAGE)
