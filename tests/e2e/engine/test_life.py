"""The life of a container: create, start, stop, kill, restart, pause, wait, rename, rm, prune, and policies that restart."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests import engines
from tests.e2e.engine.clients import FOREVER, IMAGE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.engine.clients import Daemon

_POLITE = "trap 'exit 4' TERM; echo up; while :; do sleep 0.05; done"


def status(daemon: Daemon, name: str) -> str:
    return daemon.field(name, "{{.State.Status}} {{.State.ExitCode}}")


def test_start_and_stop_again_and_again(daemon: Daemon) -> None:
    daemon.docker("create", "--name", "web", "--stop-signal", "SIGTERM", IMAGE, "sh", "-c", _POLITE)
    assert daemon.field("web", "{{.State.StartedAt}}") == "0001-01-01T00:00:00Z"
    for _ in range(2):
        assert daemon.out("start", "web") == "web"
        assert status(daemon, "web") == "running 0"
        daemon.wait_log("web", "up")
        assert daemon.out("stop", "web") == "web"
        assert status(daemon, "web") == "exited 4"
    assert daemon.out("stop", "web") == "web"  # what has stopped is stopped
    assert daemon.lines("logs", "web") == ["up", "up"]
    started, finished = daemon.field("web", "{{.State.StartedAt}} {{.State.FinishedAt}}").split()
    assert started < finished
    assert daemon.field("web", "{{.State.Pid}}") == "0"


def test_the_process_is_where_inspect_says(daemon: Daemon) -> None:
    daemon.up("web")
    pid = daemon.field("web", "{{.State.Pid}}")
    assert daemon.enter("cat", f"/proc/{pid}/cmdline").stdout == "sleep\0" + "9000\0"


def test_several_names_and_some_that_are_not_there(daemon: Daemon) -> None:
    daemon.up("one")
    daemon.up("two")
    ended = daemon.docker("stop", "one", "ghost", "two", check=False)
    assert ended.returncode == 1
    assert ended.stdout == "one\ntwo\n"
    assert "No such container: ghost" in ended.stderr


def test_a_container_is_named_by_its_id_a_part_of_it_and_its_name(daemon: Daemon) -> None:
    made = daemon.up("web")
    for name in ("web", "/web", made, made[:12], made[:5]):
        assert daemon.field(name, "{{.Id}}") == made
    assert "No such object" in daemon.fails("inspect", "we")
    assert "No such container" in daemon.fails("start", "f" * 64)


def test_a_container_that_stops_late_is_killed(daemon: Daemon) -> None:
    script = "trap '' TERM; while :; do sleep 0.1; done"
    daemon.docker("run", "-d", "--name", "deaf", "--stop-signal", "SIGTERM", IMAGE, "sh", "-c", script)
    begun = time.monotonic()
    daemon.docker("stop", "-t", "1", "deaf")
    assert time.monotonic() - begun >= 1.0
    assert status(daemon, "deaf") == "exited 137"


def test_kill_sends_a_signal(daemon: Daemon) -> None:
    script = "trap 'echo usr1' USR1; trap 'exit 9' INT; echo up; while :; do sleep 0.05; done"
    daemon.docker("run", "-d", "--name", "web", IMAGE, "sh", "-c", script)
    daemon.wait_log("web", "up")
    daemon.docker("kill", "-s", "SIGUSR1", "web")
    daemon.wait_log("web", "usr1")
    assert "invalid signal: NOSUCH" in daemon.fails("kill", "-s", "NOSUCH", "web")
    daemon.docker("kill", "--signal", "2", "web")
    assert daemon.out("wait", "web") == "9"
    assert "is not running" in daemon.fails("kill", "web")
    daemon.up("other")
    daemon.docker("kill", "other")
    assert daemon.out("wait", "other") == "137"


def test_restart_gives_a_new_process_and_keeps_the_container(daemon: Daemon) -> None:
    made = daemon.up("web")
    daemon.sh("web", "echo kept > /file")
    pid = daemon.field("web", "{{.State.Pid}}")
    assert daemon.out("restart", "-t", "0", "web") == "web"
    assert daemon.field("web", "{{.Id}} {{.State.Running}} {{.RestartCount}}") == f"{made} true 0"
    assert daemon.field("web", "{{.State.Pid}}") != pid
    assert daemon.sh("web", "cat /file") == "kept"
    daemon.docker("stop", "web")
    daemon.docker("restart", "web")
    assert daemon.state("web") == "running"


def test_pause_and_what_cannot_be_done_meanwhile(daemon: Daemon) -> None:
    script = "while :; do cat /proc/uptime >> /ticks; sleep 0.02; done"
    daemon.docker("run", "-d", "--name", "web", IMAGE, "sh", "-c", script)
    assert daemon.out("pause", "web") == "web"
    assert daemon.field("web", "{{.State.Status}} {{.State.Paused}} {{.State.Running}}") == "paused true true"
    assert "(Paused)" in daemon.out("ps", "--format", "{{.Status}}")
    assert "is already paused" in daemon.fails("pause", "web")
    assert "is paused, unpause the container before exec" in daemon.fails("exec", "web", "true")
    daemon.docker("cp", "web:/ticks", str(daemon.home / "a"))
    daemon.docker("cp", "web:/ticks", str(daemon.home / "b"))
    assert (daemon.home / "a").read_text() == (daemon.home / "b").read_text()
    daemon.docker("unpause", "web")
    before = len((daemon.home / "b").read_text().splitlines())
    engines.wait_until(lambda: int(daemon.sh("web", "wc -l < /ticks")) > before, "ticks", 10)
    assert "is not paused" in daemon.fails("unpause", "web")
    daemon.docker("pause", "web")
    daemon.docker("stop", "-t", "0", "web")
    assert daemon.state("web") == "exited"


def test_wait_gives_the_exit_code(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "soon", IMAGE, "sh", "-c", "sleep 0.5; exit 3")
    daemon.docker("run", "-d", "--name", "now", IMAGE, "true")
    assert daemon.lines("wait", "soon", "now") == ["3", "0"]
    waiting = daemon.start("wait", "later")
    assert b"No such container: later" in waiting.communicate(timeout=30)[1]


def test_wait_for_the_next_exit_and_for_the_removal(daemon: Daemon) -> None:
    daemon.docker("run", "--name", "web", IMAGE, "true")
    assert daemon.engine.api("POST", "/containers/web/wait?condition=not-running") == (200, {"StatusCode": 0})
    status, answer = daemon.engine.api("POST", "/containers/web/wait?condition=sometime")
    assert status == 400
    assert "invalid condition" in str(answer)
    daemon.docker("run", "-d", "--rm", "--name", "gone", IMAGE, "sleep", "0.5")
    assert daemon.engine.api("POST", "/containers/gone/wait?condition=removed") == (200, {"StatusCode": 0})
    assert "gone" not in daemon.lines("ps", "-a", "--format", "{{.Names}}")


@pytest.mark.parametrize("policy", ["always", "on-failure:3"])
def test_who_waits_hears_of_the_first_end_though_a_policy_restarts(daemon: Daemon, policy: str) -> None:
    script = "sleep 0.5; echo said; exit 3"
    ended = daemon.docker("run", "--name", "web", "--restart", policy, IMAGE, "sh", "-c", script, check=False)
    assert (ended.returncode, ended.stdout) == (3, "said\n")
    daemon.docker("rm", "-f", "web")
    daemon.docker("create", "--name", "web", "--restart", policy, IMAGE, "sh", "-c", "sleep 1; exit 4")
    for condition in ("", "not-running", "next-exit"):
        daemon.docker("restart", "web")
        assert daemon.engine.api("POST", f"/containers/web/wait?condition={condition}") == (200, {"StatusCode": 4})


def test_a_start_that_fails_leaves_the_code_of_the_last_run(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    mount = f"type=bind,src={tmp_path}/there,dst=/x"
    daemon.docker("run", "--name", "web", "--mount", mount, IMAGE, "sh", "-c", "exit 3", check=False)
    (tmp_path / "there").rmdir()
    assert "does not exist" in daemon.fails("start", "web")
    assert status(daemon, "web") == "exited 3"


def test_rename(daemon: Daemon) -> None:
    made = daemon.up("old")
    daemon.up("other")
    daemon.docker("rename", "old", "new")
    assert daemon.field("new", "{{.Id}} {{.Name}}") == f"{made} /new"
    assert "No such container: old" in daemon.fails("start", "old")
    assert 'The container name "/other" is already in use by container' in daemon.fails("rename", "new", "other")
    assert "Invalid container name" in daemon.fails("rename", "new", "a b")
    daemon.up("old")
    assert sorted(daemon.lines("ps", "--format", "{{.Names}}")) == ["new", "old", "other"]


def test_rm(daemon: Daemon) -> None:
    made = daemon.up("web")
    said = daemon.fails("rm", "web")
    assert "container is running: stop the container before removing or force remove" in said
    daemon.docker("pause", "web")
    assert "container is paused and must be unpaused first" in daemon.fails("rm", "web")
    assert daemon.out("rm", "-f", "web") == "web"
    assert "No such container: web" in daemon.fails("rm", "web")
    assert daemon.fails("inspect", made)
    assert daemon.docker("rm", "-f", "web").stderr.count("No such container: web") <= 1
    daemon.docker("create", "--name", "new", IMAGE)
    daemon.docker("rm", "new")


def test_prune_takes_what_has_ended_and_nothing_else(daemon: Daemon) -> None:
    daemon.up("runs")
    daemon.docker("create", "--name", "created", IMAGE)
    daemon.docker("run", "--name", "ended", "-l", "keep=me", IMAGE, "sh", "-c", "echo 1234567890 > /file")
    said = daemon.out("container", "prune", "-f", "--filter", "label!=keep")
    assert said.count("\n") >= 2
    assert sorted(daemon.lines("ps", "-a", "--format", "{{.Names}}")) == ["ended", "runs"]
    daemon.docker("container", "prune", "-f", "--filter", "until=1h")
    assert sorted(daemon.lines("ps", "-a", "--format", "{{.Names}}")) == ["ended", "runs"]
    said = daemon.out("container", "prune", "-f")
    assert "Total reclaimed space: 11B" in said
    assert daemon.lines("ps", "-a", "--format", "{{.Names}}") == ["runs"]


def test_rm_at_its_end(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--rm", "--name", "brief", IMAGE, "sleep", "0.3")
    assert daemon.field("brief", "{{.HostConfig.AutoRemove}}") == "true"
    engines.wait_until(lambda: daemon.lines("ps", "-aq") == [], "it to be gone", 10)
    said = daemon.fails("create", "--rm", "--restart", "always", IMAGE)
    assert "conflicting options" in said.lower()


def test_exit_codes_of_a_restarting_container_and_its_count(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "fails", "--restart", "on-failure:2", IMAGE, "sh", "-c", "echo try; exit 6")
    daemon.wait_for("fails", "{{.State.Status}} {{.RestartCount}}", "exited 2")
    assert status(daemon, "fails") == "exited 6"
    assert daemon.lines("logs", "fails") == ["try"] * 3
    daemon.docker("run", "-d", "--name", "works", "--restart", "on-failure", IMAGE, "true")
    daemon.wait_for("works", "{{.State.Status}} {{.RestartCount}}", "exited 0")


def test_always_restarts_until_somebody_stops_it(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "web", "--restart", "always", IMAGE, "sh", "-c", "sleep 0.1; exit 0")
    engines.wait_until(lambda: int(daemon.field("web", "{{.RestartCount}}")) >= 2, "two restarts", 20)
    daemon.docker("stop", "-t", "0", "web")
    count = daemon.field("web", "{{.RestartCount}}")
    time.sleep(0.5)
    assert daemon.field("web", "{{.State.Status}} {{.RestartCount}}") == f"exited {count}"
    daemon.docker("start", "web")
    assert daemon.field("web", "{{.RestartCount}}") == "0"


def test_a_process_killed_from_outside_is_restarted_and_one_killed_by_docker_is_not(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "web", "--restart", "unless-stopped", IMAGE, *FOREVER)
    daemon.enter("kill", "-9", daemon.field("web", "{{.State.Pid}}"))
    daemon.wait_for("web", "{{.State.Running}} {{.RestartCount}}", "true 1")
    daemon.docker("kill", "web")
    daemon.wait_for("web", "{{.State.Status}}", "exited")
    time.sleep(0.3)
    assert daemon.state("web") == "exited"


def test_port_tells_what_is_published(daemon: Daemon) -> None:
    daemon.up("web", "-p", "127.0.0.1:8080:80", "-p", "9000:53/udp")
    assert daemon.out("port", "web", "80") == "127.0.0.1:8080"
    assert "53/udp -> 0.0.0.0:9000" in daemon.lines("port", "web")
    assert "no public port '99' published for web" in daemon.fails("port", "web", "99").lower()


def test_the_same_call_twice_is_no_error_where_docker_says_so(daemon: Daemon) -> None:
    daemon.up("web")
    assert daemon.engine.api("POST", "/containers/web/start")[0] == 304
    assert daemon.engine.api("POST", "/containers/web/stop?t=0")[0] == 204
    assert daemon.engine.api("POST", "/containers/web/stop")[0] == 304
    assert daemon.engine.api("POST", "/containers/ghost/start")[0] == 404
    assert daemon.engine.api("POST", "/containers/web/kill")[0] == 409
    assert daemon.engine.api("DELETE", "/containers/web")[0] == 204
    assert daemon.engine.api("DELETE", "/containers/web")[0] == 404


@pytest.mark.parametrize(
    "verb",
    ["start", "stop", "restart", "kill", "pause", "unpause", "wait", "rm", "logs", "top", "diff", "port", "attach"],
)
def test_every_verb_says_which_container_is_not_there(daemon: Daemon, verb: str) -> None:
    assert "No such container: ghost" in daemon.fails(verb, "ghost", code=1)
