"""How the verbs behave on real engines: rollouts that go back, stops, saved plans, history, drift, and looks that only look."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.engines import wait_until
from tests.recording_proxy import Call, RecordingProxy, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli import Cli
    from tests.engines import Engine

_HEAD = "apiVersion: declarative/v1\n"
_STACK = f"---\n{_HEAD}kind: Stack\nmetadata: {{name: runs}}\n"
_QUICK = "  stop_grace_period: 1s\n"
_DEAF = "  stop_signal: SIGKILL\n"


def web(command: str = "exec sleep 1000", more: str = "", name: str = "web") -> str:
    return (
        f"---\n{_HEAD}kind: Container\nmetadata: {{name: {name}}}\nspec:\n  image: busybox\n"
        f"  command: [sh, -c, {json.dumps(command)}]\n{_QUICK}" + more
    )


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    path = tmp_path / "stack.yaml"
    path.write_text(_STACK + web())
    return path


@pytest.fixture(params=["docker_engine", "embedded_engine"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Give dockerd 20.10, and after it the embedded engine."""
    made: Engine = request.getfixturevalue(request.param)
    yield made
    made.clear()
    made.clear_images()


@pytest.fixture
def declarative_cli(cli_for: Callable[[Engine], Cli], engine: Engine) -> Cli:
    """Return the program under test against that engine."""
    return cli_for(engine)


def inspect(engine: Engine, name: str) -> Any:
    return json.loads(engine.docker("inspect", name).stdout)[0]


def names(engine: Engine) -> list[str]:
    return sorted(engine.docker("ps", "-a", "--format", "{{.Names}}").stdout.split())


def untagged(engine: Engine) -> set[str]:
    """Return the ids of the images without a name: images of one second are listed in any order."""
    return set(engine.docker("images", "--quiet", "--filter", "dangling=true").stdout.split())


def test_a_replacement_that_exits_brings_the_old_container_back(
    declarative_cli: Cli, engine: Engine, stack: Path
) -> None:
    declarative_cli("apply").expect(0)
    before = inspect(engine, "runs-web-1")["Id"]
    stack.write_text(_STACK + web("echo no such table; exit 3"))
    ended = declarative_cli("apply").expect(1)

    assert "exited with code 3" in ended.err
    assert "the old container is back" in ended.err
    assert "    no such table" in ended.err
    assert "stack.yaml:" in ended.err
    assert names(engine) == ["runs-web-1"]
    after = inspect(engine, "runs-web-1")
    assert (after["Id"], after["State"]["Running"]) == (before, True)


@pytest.mark.parametrize("order", ["stop-first", "start-first"])
def test_a_replacement_hands_the_name_over(declarative_cli: Cli, engine: Engine, stack: Path, order: str) -> None:
    update = f"  update: {{order: {order}, monitor: 100ms}}\n"
    stack.write_text(_STACK + web(more=update))
    declarative_cli("apply").expect(0)
    stack.write_text(_STACK + web("exec sleep 1001", more=update))

    assert declarative_cli("apply", "--exit-code").expect(2).out.startswith("replace Container/runs-web-1")
    assert names(engine) == ["runs-web-1"]
    assert declarative_cli("apply", "--exit-code").expect(0).out == "runs: in sync, nothing to do\n"


def test_ports_go_from_one_container_to_another_and_two_swap_theirs(
    declarative_cli: Cli, engine: Engine, stack: Path
) -> None:
    def on(port: int) -> str:
        return f"  update: {{monitor: 100ms}}\n  ports: ['{port}:80']\n"

    slow = "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done"
    for text in (
        web(slow, on(18080)),
        web(slow) + web(more=on(18080), name="aproxy"),
        web(slow, on(18081)) + web(more=on(18080) + _DEAF, name="aproxy"),
        web(slow, on(18080)) + web(more=on(18081) + _DEAF, name="aproxy"),
        web(slow, "  depends_on: [door]\n") + web(more=on(18080), name="door"),
    ):
        stack.write_text(_STACK + text.replace("grace_period: 1s", "grace_period: 9s"))
        declarative_cli("apply").expect(0)
        assert declarative_cli("apply", "--exit-code").expect(0).out == "runs: in sync, nothing to do\n"
    assert names(engine) == ["runs-door-1", "runs-web-1"]


def test_two_swap_their_fixed_addresses_in_place(declarative_cli: Cli, engine: Engine, stack: Path) -> None:
    net, ids = f"---\n{_HEAD}kind: Network\nmetadata: {{name: back}}\nspec: {{subnet: 10.78.9.0/24}}\n", []
    for one, other in ((5, 6), (6, 5)):
        at = "  networks: {{back: {{ipv4_address: 10.78.9.{}}}}}\n"
        stack.write_text(_STACK + net + web(more=at.format(one)) + web(more=at.format(other), name="db"))
        declarative_cli("apply").expect(0)
        declarative_cli("apply", "--exit-code").expect(0)
        ids.append([inspect(engine, name)["Id"] for name in names(engine)])
    assert ids[0] == ids[1]


def test_ctrl_c_in_a_rollout_goes_back_and_says_so(declarative_cli: Cli, engine: Engine, stack: Path) -> None:
    stack.write_text(_STACK + web(more="  update: {monitor: 30s}\n").replace("30s", "100ms"))
    declarative_cli("apply").expect(0)
    before = inspect(engine, "runs-web-1")["Id"]
    stack.write_text(_STACK + web("exec sleep 1001", more="  update: {monitor: 30s}\n"))
    process = declarative_cli.start("apply")
    wait_until(lambda: _runs_another(engine, before), "the new container runs", 20)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)

    assert process.returncode == 130, err.decode()
    assert b"interrupted by Ctrl-C" in out + err
    assert b"the old container is back" in out + err
    after = inspect(engine, "runs-web-1")
    assert (after["Id"], after["State"]["Running"]) == (before, True)
    assert names(engine) == ["runs-web-1"]


def _runs_another(engine: Engine, before: str) -> bool:
    found = engine.docker("ps", "--no-trunc", "--filter", "name=^runs-web-1$", "--format", "{{.ID}}").stdout.strip()
    return found not in {"", before}


def test_a_second_ctrl_c_stops_at_once_and_the_next_apply_tidies_up(
    declarative_cli: Cli, engine: Engine, stack: Path
) -> None:
    deaf = web("trap '' TERM; while :; do sleep 1; done", more="  stop_signal: SIGTERM\n")
    stack.write_text(_STACK + deaf.replace("1s", "20s"))
    declarative_cli("apply").expect(0)
    stack.write_text(_STACK + web("exec sleep 1001"))
    process = declarative_cli.start("apply")  # stopping the old one takes 20 seconds
    wait_until(lambda: "runs-web-1.new" in names(engine), "the new container is made", 20)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert b"no new steps" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)

    assert process.returncode == 130
    assert b"stopped at once" in err
    engine.docker("kill", "runs-web-1", check=False)
    declarative_cli("apply").expect(0)
    assert names(engine) == ["runs-web-1"]
    declarative_cli("apply", "--exit-code").expect(0)


def test_a_timeout_ends_an_apply_as_ctrl_c_does_but_is_a_failure(declarative_cli: Cli, stack: Path) -> None:
    stack.write_text(_STACK + web(more="  healthcheck: {test: [CMD, 'false'], interval: 60s, retries: 9}\n"))
    ended = declarative_cli("apply", "--timeout", "3s").expect(1)

    assert "--timeout" in ended.err


def test_a_job_fails_with_its_output_and_what_needs_it_never_runs(
    declarative_cli: Cli, engine: Engine, stack: Path
) -> None:
    job = web("echo table is locked >&2; exit 4", name="migrate").replace("kind: Container", "kind: Job")
    job = job.replace(_QUICK, "")
    stack.write_text(_STACK + job + web(more="  depends_on: {migrate: {condition: completed}}\n"))
    ended = declarative_cli("apply").expect(1)

    assert "Job/runs-migrate-1: it exited with code 4" in ended.err
    assert "table is locked" in ended.err
    assert "skipped, because step" in ended.out
    assert names(engine) == ["runs-migrate-1"]
    stack.write_text(stack.read_text().replace("exit 4", "exit 0"))
    declarative_cli("apply").expect(0)
    declarative_cli("apply", "--exit-code").expect(0)


def test_a_saved_plan_does_what_was_shown_or_refuses_and_names_what_changed(
    declarative_cli: Cli, engine: Engine, stack: Path
) -> None:
    declarative_cli("plan", "--out", "saved").expect(0)
    declarative_cli("apply", "saved").expect(0)
    assert names(engine) == ["runs-web-1"]

    stack.write_text(_STACK + web("exec sleep 1001"))
    declarative_cli("plan", "--out", "saved").expect(0)
    engine.docker("rm", "-f", "runs-web-1")
    ended = declarative_cli("apply", "saved").expect(1)
    assert "Container/runs-web-1: has changed since the plan was saved" in ended.err
    assert names(engine) == []
    assert "is not a saved plan" in declarative_cli("apply", "stack.yaml").expect(1).err


def test_history_brings_an_earlier_revision_back(declarative_cli: Cli, engine: Engine, stack: Path) -> None:
    for seconds in (1000, 1001, 1002):
        stack.write_text(_STACK + web(f"exec sleep {seconds}"))
        declarative_cli("apply").expect(0)
    revisions = declarative_cli("history", "-o", "json").expect(0).json()["revisions"]
    assert [revision["number"] for revision in revisions] == [1, 2, 3]
    assert "sleep 1001" in declarative_cli("history", "--show", "2").expect(0).out

    declarative_cli("rollout", "undo").expect(0)
    assert inspect(engine, "runs-web-1")["Config"]["Cmd"][-1] == "exec sleep 1001"
    declarative_cli("rollout", "undo", "--stack", "runs", "--to", "1").expect(0)
    assert inspect(engine, "runs-web-1")["Config"]["Cmd"][-1] == "exec sleep 1000"
    assert "no revision 99" in declarative_cli("rollout", "undo", "--to", "99").expect(1).err


def test_drift_is_found_in_all_its_forms_and_told_once(declarative_cli: Cli, engine: Engine, stack: Path) -> None:
    stack.write_text(_STACK + web() + web(name="db"))
    declarative_cli("apply").expect(0)
    declarative_cli("drift", "--metrics", "metrics.prom").expect(0)
    assert 'declarative_drift{stack="runs"} 0' in (stack.parent / "metrics.prom").read_text()
    engine.docker("exec", "runs-db-1", "sh", "-c", "echo x > /etc/motd; rm /bin/wget")
    engine.docker("stop", "-t", "0", "runs-web-1")

    ended = declarative_cli("drift", "--metrics", "metrics.prom", "--quiet-repeat", "seen").expect(3)
    assert "Container/runs-web-1 — stopped" in ended.out
    assert 'declarative_drift{stack="runs"} 1' in (stack.parent / "metrics.prom").read_text()
    assert declarative_cli("drift", "--quiet-repeat", "seen").expect(0).out == ""
    files = declarative_cli("drift", "--filesystem", "-o", "json").expect(3).json()["files"]
    assert {(item["path"], item["kind"]) for item in files} == {("/etc/motd", "added"), ("/bin/wget", "deleted")}
    declarative_cli("plan", "--exit-code").expect(3)
    declarative_cli("apply").expect(0)
    declarative_cli("drift").expect(0)


@pytest.mark.usefixtures("stack")
def test_a_restart_is_told_until_a_whole_apply_takes_note_of_it(declarative_cli: Cli, engine: Engine) -> None:
    declarative_cli("apply").expect(0)
    time.sleep(1.1)  # entries are dated by the second
    engine.docker("restart", "-t", "0", "runs-web-1")
    before = untagged(engine)
    assert "restarted by hand or with the engine" in declarative_cli("drift").expect(3).out
    assert "taken note of" in declarative_cli("apply", "--exit-code").expect(0).out

    declarative_cli("drift").expect(0)
    assert declarative_cli("apply").expect(0).out == "runs: in sync, nothing to do\n"
    revisions = declarative_cli("history", "-o", "json").expect(0).json()["revisions"]
    assert [revision["number"] for revision in revisions] == [1]
    assert untagged(engine) == before


def test_undo_after_an_apply_that_failed_half_way_goes_to_the_last_good_one(
    declarative_cli: Cli, engine: Engine, stack: Path
) -> None:
    for seconds in (1000, 1001):
        stack.write_text(_STACK + web(f"exec sleep {seconds}"))
        declarative_cli("apply").expect(0)
    stack.write_text(_STACK + web("exec sleep 1002") + web("exit 3", "  depends_on: [web]\n", name="new"))
    declarative_cli("apply").expect(1)
    assert inspect(engine, "runs-web-1")["Config"]["Cmd"][-1] == "exec sleep 1002"

    assert "back to revision 2" in declarative_cli("rollout", "undo", "--stack", "runs").expect(0).out
    assert inspect(engine, "runs-web-1")["Config"]["Cmd"][-1] == "exec sleep 1001"
    assert names(engine) == ["runs-web-1"]


def test_status_says_what_runs_with_and_without_a_manifest(declarative_cli: Cli, engine: Engine, stack: Path) -> None:
    declarative_cli("apply").expect(0)
    ended = declarative_cli("status", "--exit-code").expect(0)
    assert "runs-web-1  running  busybox" in ended.out
    engine.docker("stop", "-t", "0", "runs-web-1")
    (row,) = declarative_cli("status", "--stack", "runs", "-o", "json").expect(0).json()["containers"]
    assert (row["name"], row["state"], row["ready"]) == ("runs-web-1", "exited (137)", False)
    engine.docker("rm", "runs-web-1")
    assert "missing" in declarative_cli("status", "--exit-code").expect(1).out
    assert stack.exists()


@pytest.mark.parametrize(
    "look",
    [("plan",), ("plan", "--out", "saved"), ("apply", "--dry-run"), ("drift", "--filesystem"), ("status",), ("history",),
     ("destroy", "--dry-run"), ("plan", "--target", "Container/web")],
)  # fmt: skip
def test_a_look_makes_no_writing_call(declarative_cli: Cli, engine: Engine, stack: Path, look: tuple[str, ...]) -> None:
    declarative_cli("apply").expect(0)
    engine.docker("stop", "-t", "0", "runs-web-1")
    stack.write_text(_STACK + web("exec sleep 1001") + web(name="db"))
    assert engine.socket_path is not None
    with RecordingProxy(engine.socket_path, stack.parent / "proxy.sock") as proxy:
        ended = declarative_cli(*look, "--engine", proxy.url)
        assert ended.code in {0, 3}, ended.err
        assert proxy.calls
        assert proxy.writes == []


def test_a_call_whose_answer_was_cut_is_made_again(declarative_cli: Cli, engine: Engine, stack: Path) -> None:
    cut: list[str] = []

    def once_each(call: Call) -> Verdict:
        if not call.writes or str(call) in cut:
            return Verdict.PASS
        cut.append(str(call))
        return Verdict.CUT

    assert engine.socket_path is not None
    with RecordingProxy(engine.socket_path, stack.parent / "proxy.sock", after=once_each) as proxy:
        ended = declarative_cli("apply", "--engine", proxy.url).expect(0)
    assert "again in" in ended.out
    assert len(cut) >= 3
    assert names(engine) == ["runs-web-1"]
    declarative_cli("apply", "--exit-code").expect(0)


def test_an_apply_in_sync_makes_no_writing_call(declarative_cli: Cli, engine: Engine, stack: Path) -> None:
    declarative_cli("apply").expect(0)
    assert engine.socket_path is not None
    with RecordingProxy(engine.socket_path, stack.parent / "proxy.sock") as proxy:
        declarative_cli("apply", "--engine", proxy.url).expect(0)
        assert proxy.writes == []


@pytest.mark.parametrize("spare", ["spare_engine", "spare_embedded"])
def test_an_engine_that_dies_in_the_middle_ends_the_apply_soon_and_the_next_one_converges(
    cli_for: Callable[[Engine], Cli], request: pytest.FixtureRequest, stack: Path, spare: str
) -> None:
    spare_engine: Engine = request.getfixturevalue(spare)
    stack.write_text(_STACK + "".join(web(name=f"web{number}") for number in range(12)))
    dying = False

    def die(call: Call) -> Verdict:
        nonlocal dying
        if call.path.endswith("/start") and not dying:
            dying = True
            spare_engine.kill()
        return Verdict.CUT if dying else Verdict.PASS

    assert spare_engine.socket_path is not None
    cli = cli_for(spare_engine)
    with RecordingProxy(spare_engine.socket_path, stack.parent / "proxy.sock", before=die) as proxy:
        begun = time.monotonic()
        ended = cli("apply", "--engine", proxy.url, seconds=100).expect(1)
        assert time.monotonic() - begun < 60
    assert "the engine does not answer any more" in ended.err
    assert "Traceback" not in ended.err
    spare_engine.start_daemon()
    cli("apply").expect(0)
    cli("apply", "--exit-code").expect(0)
    assert len(names(spare_engine)) == 12


def test_a_newer_engine_goes_through_the_same_life(
    cli_for: Callable[[Engine], Cli], docker26: Engine, stack: Path
) -> None:
    cli = cli_for(docker26)
    update = "  update: {order: start-first, monitor: 100ms}\n  restart: always\n"
    stack.write_text(_STACK + web(more=update))
    cli("apply", "--exit-code").expect(2)
    cli("apply", "--exit-code").expect(0)
    stack.write_text(_STACK + web("exec sleep 1001", more=update))
    cli("apply").expect(0)
    stack.write_text(_STACK + web("exec sleep 1001", more=update.replace("always", "unless-stopped")))
    assert "update Container/runs-web-1" in cli("apply").expect(0).out
    docker26.docker("stop", "-t", "0", "runs-web-1")
    cli("drift").expect(3)
    cli("rollout", "undo", "--to", "1").expect(0)
    assert inspect(docker26, "runs-web-1")["Config"]["Cmd"][-1] == "exec sleep 1000"
    assert len(cli("history", "-o", "json").expect(0).json()["revisions"]) == 4
    cli("destroy", "--yes").expect(0)
    assert names(docker26) == []
    assert cli("history").expect(0).out == "runs: nothing was applied yet\n"


@pytest.mark.slow
def test_killed_at_every_writing_call_the_next_apply_converges(
    declarative_cli: Cli, engine: Engine, stack: Path
) -> None:
    """A replacement, a removal and a new container: killed before and after each call; nothing is left, the data stays."""
    volume = f"---\n{_HEAD}kind: Volume\nmetadata: {{name: data}}\n"
    update = "  update: {monitor: 50ms}\n"
    mount = '  volumes: ["data:/data"]\n'
    old = _STACK + volume + web(more=update + mount) + web(name="gone", more=update)
    new = _STACK + volume + web("exec sleep 1001", more=update + mount) + web(name="fresh", more=update)
    number, killed = 0, True
    while killed:
        stack.write_text(old)
        declarative_cli("apply").expect(0)
        engine.docker("exec", "runs-web-1", "sh", "-c", f"echo {number} > /data/kept")
        stack.write_text(new)
        killed = _killed_at(number, declarative_cli, engine, stack)
        declarative_cli("apply").expect(0)
        assert names(engine) == ["runs-fresh-1", "runs-web-1"], number
        assert inspect(engine, "runs-web-1")["Config"]["Cmd"][-1] == "exec sleep 1001", number
        kept = engine.docker("exec", "runs-web-1", "cat", "/data/kept").stdout
        assert kept == f"{number}\n"
        declarative_cli("apply", "--exit-code").expect(0)
        number += 4 if engine.flavour.name == "embedded" else 1  # `test_crash.py` samples both
    assert number > 20


def _killed_at(number: int, cli: Cli, engine: Engine, stack: Path) -> bool:
    """Run an apply that is killed at one moment: even numbers before, odd ones after a writing call. False if it ended."""
    count = -1
    process = None

    def at(moment: int) -> Any:
        def hook(call: Call) -> Verdict:
            nonlocal count
            if call.writes and "/images/load" not in call.path:
                count += moment == 0
                if 2 * count + moment == number and process is not None:
                    process.kill()
                    process.wait()
                    return Verdict.CUT
            return Verdict.PASS

        return hook

    assert engine.socket_path is not None
    with RecordingProxy(engine.socket_path, stack.parent / "proxy.sock", before=at(0), after=at(1)) as proxy:
        process = cli.start("apply", "--engine", proxy.url, "--parallelism", "1")
        process.communicate(timeout=60)
    return process.returncode == -signal.SIGKILL
