"""The daemon is killed and the machine rebooted with containers running: they are the same afterwards, and nothing is lost."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests import engines
from tests.e2e.engine import outages
from tests.e2e.engine.clients import FOREVER, IMAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.engine.clients import Daemon

_COUNTER = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done"
_MANY = 50
_PUBLISHING = 10
_SERVE = "mkdir -p /www; echo up > /www/index.html; httpd -p 80 -h /www; "


def create(daemon: Daemon, name: str, script: str, **host: Any) -> None:
    body = {"Image": IMAGE, "Cmd": ["sh", "-c", script], "HostConfig": host}
    status, answer = daemon.engine.api("POST", f"/containers/create?name={name}", body)
    assert status == 201, answer
    status, answer = daemon.engine.api("POST", f"/containers/{name}/start")
    assert status == 204, answer


def numbers(daemon: Daemon, name: str) -> list[int]:
    return [int(line.split()[1]) for line in daemon.lines("logs", name) if line.startswith("line ")]


class Poller:
    """A client that asks published ports all the time, and remembers what failed."""

    def __init__(self, daemon: Daemon, ports: list[int]) -> None:
        self.asked, self.failed = 0, []  # type: int, list[str]
        self._daemon, self._ports = daemon, ports
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._over.is_set():
            for port in self._ports:
                self.asked += 1
                try:
                    status, _ = self._daemon.get(port)
                except OSError as error:
                    self.failed.append(f"{port}: {error}")
                else:
                    if status != 200:
                        self.failed.append(f"{port}: {status}")
            time.sleep(0.02)


@pytest.mark.slow
def test_fifty_containers_outlive_a_killed_daemon(spare: Daemon) -> None:
    names = [f"web{number}" for number in range(_MANY)]

    def make(number: int) -> None:
        published = number < _PUBLISHING
        ports = {"80/tcp": [{"HostPort": str(9000 + number)}]} if published else {}
        create(spare, names[number], (_SERVE if published else "") + _COUNTER, PortBindings=ports, StopTimeout=0)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(_MANY)))
    for number in range(_PUBLISHING):
        spare.wait_http(9000 + number, "/index.html")
    create(spare, "ends7", "sleep 2; exit 7")
    create(spare, "killed", "sleep 2; kill -9 $$ ; sleep 9")
    create(spare, "again", "echo line 1; sleep 1.5; exit 3", RestartPolicy={"Name": "always"})
    before = {row["Id"]: row["State"] for row in spare.engine.api("GET", "/containers/json?all=1")[1]}
    pids = spare.out("inspect", "-f", "{{.State.Pid}} {{.State.StartedAt}}", *names)

    with Poller(spare, [9000 + number for number in range(_PUBLISHING)]) as poller:
        outages.crash(spare)
        time.sleep(3)  # long enough for those that end to have ended
        outages.restart(spare)
        time.sleep(1)
    assert poller.asked > 100
    assert poller.failed == []

    after = {row["Id"]: row["State"] for row in spare.engine.api("GET", "/containers/json?all=1")[1]}
    assert after.keys() == before.keys()
    assert spare.out("inspect", "-f", "{{.State.Pid}} {{.State.StartedAt}}", *names) == pids
    for name in names:
        seen = numbers(spare, name)
        assert seen == list(range(1, len(seen) + 1)), name
        assert len(seen) > 20
    assert spare.field("ends7", "{{.State.Status}} {{.State.ExitCode}}") == "exited 7"
    assert spare.state("killed") in {"exited", "running"}
    engines.wait_until(lambda: int(spare.field("again", "{{.RestartCount}}")) >= 1, "the restart policy to go on", 20)
    assert spare.sh("web0", "echo reached") == "reached"
    spare.docker("rm", "-f", *names, "ends7", "killed", "again", seconds=300)
    assert spare.lines("ps", "-aq") == []


def test_a_follower_after_the_crash_sees_every_line_once(spare: Daemon) -> None:
    create(spare, "web", _COUNTER)
    spare.wait_log("web", "line 5\n")
    outages.crash(spare)
    time.sleep(0.5)
    outages.restart(spare)
    following = spare.start("logs", "-f", "web")
    assert following.stdout is not None
    seen = [int(following.stdout.readline().split()[1]) for _ in range(30)]
    following.kill()
    following.communicate()
    assert seen == list(range(1, 31))


def test_clients_attached_before_are_let_go_and_may_come_again(spare: Daemon) -> None:
    spare.docker("run", "-d", "-i", "--name", "web", IMAGE, "sh", "-c", "while read l; do echo got $l; done")
    waiting = spare.start("wait", "web")
    time.sleep(0.3)
    outages.crash(spare)
    waiting.communicate(timeout=20)
    assert waiting.returncode != 0
    outages.restart(spare)
    talking = spare.start("attach", "web")
    assert talking.stdin is not None
    assert talking.stdout is not None
    talking.stdin.write(b"word\n")
    talking.stdin.flush()
    assert talking.stdout.readline() == b"got word\n"
    talking.kill()
    talking.communicate()


def test_health_checks_and_restart_policies_go_on(spare: Daemon) -> None:
    check = ("--health-cmd", "test ! -e /sick", "--health-interval", "200ms", "--health-retries", "1")
    spare.docker("run", "-d", "--name", "web", *check, IMAGE, *FOREVER)
    spare.docker("run", "-d", "--name", "kept", "--restart", "on-failure:5", IMAGE, *FOREVER)
    spare.wait_for("web", "{{.State.Health.Status}}", "healthy")
    outages.crash(spare)
    outages.restart(spare)
    spare.sh("web", "touch /sick")
    spare.wait_for("web", "{{.State.Health.Status}}", "unhealthy")
    spare.enter("kill", "-9", spare.field("kept", "{{.State.Pid}}"))
    spare.wait_for("kept", "{{.State.Running}} {{.RestartCount}}", "true 1")


def test_what_ends_and_is_removed_by_itself_is_gone_after_the_crash(spare: Daemon) -> None:
    spare.docker("run", "-d", "--rm", "--name", "brief", "-v", "/anon", IMAGE, "sleep", "1")
    outages.crash(spare)
    time.sleep(1.5)
    outages.restart(spare)
    engines.wait_until(lambda: spare.lines("ps", "-aq") == [], "it to be gone", 20)
    assert spare.lines("volume", "ls", "-q") == []


def test_names_and_networks_work_on(spare: Daemon) -> None:
    spare.docker("network", "create", "back")
    spare.up("web", "--network", "back", "-h", "web", command=("sh", "-c", f"{_SERVE}exec sleep 9000"))
    outages.crash(spare)
    outages.restart(spare)
    fetch = "for i in 1 2 3 4 5 6 7 8 9; do wget -q -O - http://web/ && exit; sleep 0.2; done; exit 1"
    assert spare.run("--network", "back", IMAGE, "sh", "-c", fetch) == "up"
    spare.docker("rm", "-f", "web")
    spare.docker("network", "rm", "back")


def test_a_killed_daemon_in_the_middle_of_starts_and_removals_leaves_nothing_behind(spare: Daemon) -> None:
    before = outages.used(spare)
    for round_ in range(6):

        def churn(number: int, round_: int = round_) -> None:
            name = f"churn{round_}-{number}"
            for args in (("run", "-d", "--name", name, "-p", "80", IMAGE, *FOREVER), ("rm", "-f", name)):
                spare.docker(*args, check=False, seconds=30)

        with ThreadPoolExecutor(4) as pool:
            under_way = [pool.submit(churn, number) for number in range(6)]
            time.sleep(0.15 + 0.17 * round_)
            outages.crash(spare)
            for task in under_way:
                task.result()
        outages.restart(spare)
        spare.engine.clear()
        assert spare.lines("ps", "-aq") == []
    assert outages.settled(spare, before) == []


def test_a_reboot_restores_what_restart_policies_ask_for(spare: Daemon) -> None:
    spare.docker("network", "create", "back")
    spare.up(
        "always",
        "--restart",
        "always",
        "--network",
        "back",
        "-p",
        "9100:80",
        "-v",
        "data:/data",
        command=("sh", "-c", f"{_SERVE}exec sleep 9000"),
    )
    spare.up("unless", "--restart", "unless-stopped")
    spare.up("stopped", "--restart", "unless-stopped")
    spare.docker("stop", "stopped")
    spare.up("never")
    spare.docker("run", "-d", "--rm", "--name", "brief", IMAGE, *FOREVER)
    spare.docker("run", "--name", "ended", IMAGE, "sh", "-c", "echo said; exit 4", check=False)
    spare.sh("always", "echo kept > /file; echo kept > /data/file")
    spare.wait_http(9100)
    outages.reboot(spare)
    spare.wait_for("always", "{{.State.Status}}", "running")
    spare.wait_for("unless", "{{.State.Status}}", "running")
    assert spare.state("stopped") == "exited"
    assert spare.state("never") == "exited"
    assert spare.field("ended", "{{.State.Status}} {{.State.ExitCode}}") == "exited 4"
    assert spare.out("logs", "ended") == "said"
    engines.wait_until(
        lambda: "brief" not in spare.lines("ps", "-a", "--format", "{{.Names}}"), "--rm to be honoured", 10
    )
    assert spare.wait_http(9100) == "up\n"
    assert spare.sh("always", "cat /file /data/file") == "kept\nkept"
    spare.docker("start", "never")
    assert spare.state("never") == "running"


@pytest.mark.parametrize("how", ["asked", "killed"])
def test_stopping_the_daemon_leaves_containers_running(spare: Daemon, how: str) -> None:
    create(spare, "web", _COUNTER)
    pid = spare.field("web", "{{.State.Pid}}")
    outages.machine(spare).stop_daemon() if how == "asked" else outages.crash(spare)
    assert spare.enter("cat", f"/proc/{pid}/cmdline").stdout.startswith("sh")
    outages.restart(spare)
    assert spare.field("web", "{{.State.Pid}} {{.State.Status}}") == f"{pid} running"
    assert numbers(spare, "web")[0] == 1


@pytest.mark.parametrize("how", ["gone", "emptied"])
def test_without_its_records_the_daemon_touches_no_container(spare: Daemon, how: str) -> None:
    spare.docker("run", "-d", "--name", "web", IMAGE, "sh", "-c", "echo kept > /file; exec sleep 9000")
    spare.wait_for("web", "{{.State.Status}}", "running")
    pid, root = spare.field("web", "{{.State.Pid}}"), outages.machine(spare).root
    outages.crash(spare)
    aside = root.with_name("aside")
    aside.mkdir()
    for path in root.glob("engine.db*"):
        path.rename(aside / path.name)
    if how == "emptied":
        (root / "engine.db").touch()
    with pytest.raises(RuntimeError, match=r"1 container is below .* that nothing else knows — bring the file back"):
        outages.restart(spare)
    checked = outages.fsck(spare)
    assert checked.returncode == 1
    assert "engine.db: missing or empty, and 1 container is below" in checked.stdout
    for path in aside.iterdir():
        path.rename(root / path.name)
    outages.restart(spare)
    assert spare.field("web", "{{.State.Pid}} {{.State.Status}}") == f"{pid} running"
    assert spare.sh("web", "cat /file") == "kept"


def test_damaged_records_are_named_with_a_way_out(spare: Daemon) -> None:
    outages.machine(spare).stop_daemon()
    path = outages.machine(spare).root / "engine.db"
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"x" * 8192 + content[16384:])
    checked = outages.fsck(spare)
    assert checked.returncode == 1
    assert (
        "engine.db: the engine's records cannot be used: database disk image is malformed; bring a copy"
        in checked.stdout
    )


def corrupt(daemon: Daemon, *statements: str) -> None:
    """Change the records of an engine that is stopped, as a bug, a bad disk or a person would."""
    with contextlib.closing(sqlite3.connect(outages.machine(daemon).root / "engine.db")) as records:
        for statement in statements:
            assert records.execute(statement).rowcount == 1
        records.commit()


def test_a_container_whose_record_cannot_be_read_keeps_no_other_from_being_managed(spare: Daemon) -> None:
    spare.docker("network", "create", "inner")
    create(spare, "sound", _COUNTER, RestartPolicy={"Name": "always"})
    create(spare, "bad", "trap 'exit 3' TERM; echo kept > /file; while :; do sleep 0.1; done", NetworkMode="inner")
    create(spare, "over", "echo kept > /file")
    create(spare, "lost", _COUNTER)
    spare.wait_for("over", "{{.State.Status}}", "exited")
    pids = {name: spare.field(name, "{{.State.Pid}}") for name in ("sound", "bad", "lost")}
    address = spare.field("bad", "{{.NetworkSettings.Networks.inner.IPAddress}}")
    outages.crash(spare)
    corrupt(
        spare,
        "UPDATE containers SET host = substr(host, 1, 20) WHERE name = 'bad'",
        "UPDATE containers SET config = '[]' WHERE name = 'over'",
        """UPDATE containers SET state = '{"status":"flying"}' WHERE name = 'lost'""",
    )
    checked = outages.fsck(spare)
    assert checked.returncode == 1
    assert "container bad (" in checked.stdout
    assert "its record cannot be read (host: " in checked.stdout
    assert "container over (" in checked.stdout
    assert "its state cannot be read (status must be a status, not 'flying')" in checked.stdout.replace(
        "invalid JSON: ", ""
    )
    outages.restart(spare)
    assert {name: spare.field(name, "{{.State.Pid}}") for name in pids} == pids
    assert "its record cannot be read (host: " in spare.field("bad", "{{.State.Error}}")
    assert spare.field("bad", "{{.NetworkSettings.Networks.inner.IPAddress}}") in {address, "<no value>"}
    assert spare.sh("bad", "cat /file; ip -4 -o addr show eth0 | grep -c " + address) == "kept\n1"
    spare.docker("stop", "bad")
    assert spare.field("bad", "{{.State.Status}} {{.State.ExitCode}}") == "exited 3"
    for words in (["start", "bad"], ["start", "over"], ["update", "--memory", "100m", "over"], ["commit", "over"]):
        refused = spare.docker(*words, check=False)
        assert refused.returncode == 1
        assert "its record cannot be read" in refused.stderr
    outages.crash(spare)
    outages.restart(spare)
    assert spare.lines("ps", "-a", "--format", "{{.Names}} {{.State}}") == [
        "lost running",
        "over exited",
        "bad exited",
        "sound running",
    ]
    assert spare.docker("cp", "over:/file", "-").stdout
    spare.docker("rm", "-f", "bad", "over", "lost")
    spare.docker("network", "rm", "inner")
    outages.machine(spare).stop_daemon()
    assert outages.fsck(spare).stdout == "sound\n"


def test_a_network_whose_record_cannot_be_read_serves_who_is_in_it_and_nobody_else(spare: Daemon) -> None:
    spare.docker("network", "create", "inner")
    for name in ("one", "two"):
        create(spare, name, "sleep 9000", NetworkMode="inner")
    spare.docker("run", "-d", "--name", "plain", IMAGE, "sleep", "9000")
    outages.crash(spare)
    corrupt(
        spare,
        "UPDATE networks SET document = '{}' WHERE name = 'inner'",
        "UPDATE networks SET document = '{}' WHERE name = 'bridge'",
    )
    checked = outages.fsck(spare)
    assert checked.returncode == 1
    assert "network inner (" in checked.stdout
    assert "its record cannot be read (KeyError: 'pools'): remove it, and create it again" in checked.stdout
    outages.restart(spare)
    assert spare.sh("one", "ping -c 1 -W 3 two > /dev/null && echo reached") == "reached"
    assert (
        spare.sh(
            "plain", "ping -c 1 -W 3 $(ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p') > /dev/null; echo $?"
        )
        == "0"
    )
    refused = spare.docker("run", "--rm", "--network", "inner", IMAGE, "true", check=False)
    assert "network inner: its record cannot be read" in refused.stderr
    spare.docker("run", "--rm", IMAGE, "true")
    spare.docker("rm", "-f", "one", "two")
    spare.docker("network", "rm", "inner")
    spare.docker("network", "create", "inner")
    spare.docker("run", "--rm", "--network", "inner", IMAGE, "true")


def test_a_volume_whose_record_cannot_be_read_is_kept_and_given_to_nobody(spare: Daemon) -> None:
    spare.docker("run", "--rm", "-v", "data:/data", IMAGE, "sh", "-c", "echo kept > /data/file")
    outages.machine(spare).stop_daemon()
    corrupt(spare, "UPDATE volumes SET document = 'null' WHERE name = 'data'")
    checked = outages.fsck(spare)
    assert checked.returncode == 1
    assert "volume data: its record cannot be read (TypeError: " in checked.stdout
    outages.restart(spare)
    refused = spare.docker("run", "--rm", "-v", "data:/data", IMAGE, "true", check=False)
    assert "volume data: its record cannot be read" in refused.stderr
    spare.docker("volume", "prune", "-f", "-a")
    assert (outages.machine(spare).root / "volumes/data/_data/file").read_text() == "kept\n"
    spare.docker("volume", "rm", "data")
    spare.docker("run", "--rm", "-v", "data:/data", IMAGE, "true")


@pytest.fixture
def heavy(spare: Daemon, tmp_path: Any) -> Iterator[str]:
    """Give a registry with an image of some megabytes and five layers, and the same as a file `image.tar`."""
    from tests.registry_server import serve_registry

    with serve_registry(tmp_path / "registry") as address:
        spare.engine.reach(int(address.rpartition(":")[2]))
        steps = "".join(f"RUN head -c 4000000 /dev/urandom > /r{number}\n" for number in range(5))
        spare.docker("build", "-q", "-t", f"{address}/heavy:1", "-", stdin=f"FROM {IMAGE}\n{steps}")
        spare.docker("push", f"{address}/heavy:1")
        spare.docker("save", "-o", str(tmp_path / "image.tar"), f"{address}/heavy:1")
        spare.docker("rmi", f"{address}/heavy:1")
        yield address


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["pull", "build", "load", "prune"])
def test_killed_in_the_middle_of_work_on_images_the_store_is_sound_and_a_retry_succeeds(
    spare: Daemon, heavy: str, tmp_path: Any, verb: str
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    steps = "RUN head -c 3000000 /dev/urandom > /a\nRUN head -c 3000000 /dev/urandom > /b\nCOPY Dockerfile /d\n"
    (context / "Dockerfile").write_text(f"FROM {IMAGE}\n{steps}RUN sleep 0.2; echo end > /end\n")
    work = {
        "pull": ("pull", f"{heavy}/heavy:1"),
        "load": ("load", "-i", str(tmp_path / "image.tar")),
        "build": ("build", "-t", "built:1", str(context)),
        "prune": ("system", "prune", "-a", "-f"),
    }[verb]
    for delay in (0.03, 0.08, 0.15, 0.3, 0.6):
        if verb == "prune":
            spare.docker("load", "-i", str(tmp_path / "image.tar"))
        process = spare.start(*work)
        time.sleep(delay)
        outages.crash(spare)
        process.communicate(timeout=60)
        checked = outages.fsck(spare)
        assert checked.returncode == 0, f"after {delay} s: {checked.stdout}{checked.stderr}"
        outages.restart(spare)
        assert spare.lines("ps", "-aq") == []
    spare.docker(*work)
    if verb in {"pull", "load"}:
        assert spare.run(f"{heavy}/heavy:1", "sh", "-c", "cat /r? | wc -c") == "20000000"
    elif verb == "build":
        assert spare.run("built:1", "cat", "/end") == "end"
    spare.docker("load", "-i", str(tmp_path / "image.tar"))
    assert spare.run(f"{heavy}/heavy:1", "sh", "-c", "cat /r? | wc -c") == "20000000"
