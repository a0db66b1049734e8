"""`docker version`, `info`, `system df` and `prune`, `builder prune`, `stats`, `top`: what a daemon says of itself."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest

from tests import engines
from tests.e2e.engine.clients import IMAGE

if TYPE_CHECKING:
    from tests.e2e.engine.clients import Daemon


def test_version(daemon: Daemon) -> None:
    found = json.loads(daemon.out("version", "--format", "{{json .Server}}"))
    assert re.fullmatch(r"1\.\d+", found["ApiVersion"])
    assert found["MinAPIVersion"] == "1.24"
    assert found["Os"] == "linux"
    assert found["Arch"] in {"amd64", "arm64"}
    assert found["KernelVersion"]
    assert "Server:" in daemon.out("version")


def test_info(daemon: Daemon) -> None:
    daemon.up("runs")
    daemon.docker("create", "--name", "created", IMAGE)
    found = json.loads(daemon.out("info", "--format", "{{json .}}"))
    assert (found["Containers"], found["ContainersRunning"], found["ContainersStopped"], found["ContainersPaused"]) == (
        2,
        1,
        1,
        0,
    )
    assert found["Images"] >= 1
    assert (found["OSType"], found["LoggingDriver"], found["DefaultRuntime"]) == ("linux", "json-file", "runc")
    assert found["NCPU"] >= 1
    assert found["MemTotal"] > 1 << 28
    assert found["CgroupVersion"] in {"1", "2"}
    assert {"bridge", "host", "null"} <= set(found["Plugins"]["Network"])
    assert found["Plugins"]["Volume"] == ["local"]
    assert any("seccomp" in option for option in found["SecurityOptions"])
    assert "Server:" in daemon.out("info")


def test_an_older_client_asks_in_its_version_and_a_newer_one_is_told(daemon: Daemon) -> None:
    status, answer = daemon.engine.api("GET", "/v1.23/version")
    assert status == 400
    assert "client version 1.23 is too old" in answer["message"]
    status, answer = daemon.engine.api("GET", "/v1.99/version")
    assert status == 400
    assert "client version 1.99 is too new" in answer["message"]
    assert daemon.engine.api("GET", "/v1.24/containers/json")[0] == 200
    assert daemon.engine.api("GET", "/nosuch")[0] == 404
    assert daemon.engine.api("GET", "/_ping") == (200, "OK")


def test_what_takes_room(daemon: Daemon) -> None:
    daemon.docker(
        "build", "-q", "-t", "app:1", "-", stdin=f"FROM {IMAGE}\nRUN head -c 2000000 /dev/zero > /two; echo df\n"
    )
    daemon.up("web", "-v", "data:/v", image="app:1")
    daemon.sh("web", "head -c 1000000 /dev/zero > /one; head -c 500000 /dev/zero > /v/half")
    rows = {row["Type"]: row for row in map(json.loads, daemon.lines("system", "df", "--format", "{{json .}}"))}
    assert (rows["Images"]["TotalCount"], rows["Images"]["Active"]) == ("2", "1")
    assert (rows["Containers"]["TotalCount"], rows["Containers"]["Active"]) == ("1", "1")
    assert rows["Containers"]["Size"] == "1MB"
    assert (rows["Local Volumes"]["TotalCount"], rows["Local Volumes"]["Active"]) == ("1", "1")
    assert rows["Local Volumes"]["Size"] == "500kB"
    assert "Build Cache" in rows
    verbose = daemon.out("system", "df", "-v")
    assert "app" in verbose
    assert "data" in verbose


def test_prune_of_everything(daemon: Daemon) -> None:
    daemon.up("runs")
    daemon.docker("run", "--name", "ended", "-v", "data:/v", "-v", "/anon", IMAGE, "true")
    daemon.docker("network", "create", "idle")
    daemon.docker("build", "-q", "-t", "app:1", "-", stdin=f"FROM {IMAGE}\nLABEL test=system-prune\n")
    daemon.docker("build", "-q", "-t", "app:1", "-", stdin=f"FROM {IMAGE}\nLABEL test=system-prune2\n")
    said = daemon.out("system", "prune", "-f", "--volumes")
    assert "Deleted Containers:" in said
    assert "Deleted Networks:\nidle" in said
    assert "Total reclaimed space:" in said
    assert daemon.lines("ps", "-a", "--format", "{{.Names}}") == ["runs"]
    assert daemon.lines("volume", "ls", "-q") == ["data"]
    assert daemon.lines("images", "-q", "--filter", "dangling=true") == []
    assert len(daemon.lines("images", "-q")) == 2
    daemon.docker("system", "prune", "-a", "-f")
    assert len(daemon.lines("images", "-q")) == 1


def test_builder_prune(daemon: Daemon) -> None:
    daemon.docker("build", "-q", "-t", "app:1", "-", stdin=f"FROM {IMAGE}\nRUN echo builder-prune\n")
    assert "Total" in daemon.out("builder", "prune", "-a", "-f")
    assert daemon.run("app:1", "echo", "still here") == "still here"


def test_prune_by_label_takes_and_keeps_by_label_everywhere(daemon: Daemon) -> None:
    for label in ("keep=1", "drop=1"):
        daemon.docker("create", "--label", label, IMAGE)
        daemon.docker("network", "create", "--label", label, label.replace("=", "-"))
        daemon.docker("build", "-q", "-", stdin=f"FROM {IMAGE}\nLABEL {label}\n")
    daemon.docker("system", "prune", "-f", "--filter", "label=drop")
    left = ("--filter", "label=keep", "-q")
    gone = ("--filter", "label=drop", "-q")
    for listed in (("ps", "-a"), ("network", "ls"), ("images",)):
        assert len(daemon.lines(*listed, *left)) == 1, listed
        assert daemon.lines(*listed, *gone) == [], listed
    daemon.docker("system", "prune", "-f", "--filter", "label!=keep")
    assert len(daemon.lines("images", *left)) == 1
    daemon.docker("builder", "prune", "-f", "--filter", "label!=keep")
    assert len(daemon.lines("images", *left)) == 1


def test_caches_of_commands_have_no_labels(embedded: Daemon) -> None:
    text = f"FROM {IMAGE}\nRUN --mount=type=cache,target=/c echo x > /c/x\n"
    embedded.docker("build", "-q", "-", stdin=text)

    def caches() -> int:
        return embedded.out("system", "df", "-v").count("exec.cachemount")

    embedded.docker("builder", "prune", "-af", "--filter", "label=x")
    assert caches() == 1
    embedded.docker("builder", "prune", "-af", "--filter", "label!=x")
    assert caches() == 0


def test_top(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "web", IMAGE, "sh", "-c", "sleep 8001 & sleep 8002 & wait")
    engines.wait_until(lambda: "8002" in daemon.out("top", "web"), "the processes", 10)
    lines = daemon.lines("top", "web")
    assert lines[0].split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert sum("sleep 800" in line for line in lines) >= 2
    lines = daemon.lines("top", "web", "-o", "pid,args")
    assert lines[0].split() == ["PID", "COMMAND"]
    pid = daemon.field("web", "{{.State.Pid}}")
    assert any(line.split()[0] == pid for line in lines[1:])
    daemon.docker("rm", "-f", "web")
    daemon.docker("create", "--name", "web", IMAGE)
    assert "is not running" in daemon.fails("top", "web")


def test_stats(daemon: Daemon) -> None:
    daemon.up(
        "web",
        "-m",
        "64m",
        command=("sh", "-c", "head -c 5000000 /dev/zero | tail -c 5000000 > /tmp/x; while :; do :; done"),
    )
    daemon.up("idle")

    def measured() -> dict[str, dict[str, str]]:
        rows = [json.loads(line) for line in daemon.lines("stats", "--no-stream", "--format", "{{json .}}")]
        return {row["Name"]: row for row in rows}

    engines.wait_until(lambda: float(measured()["web"]["CPUPerc"].rstrip("%")) > 5, "the processor to be used", 30)
    row = measured()["web"]
    assert row["MemUsage"].endswith("/ 64MiB")
    assert int(row["PIDs"]) >= 1
    assert re.match(r"[\d.]+\w?B / [\d.]+\w?B", row["NetIO"])
    _, found = daemon.engine.api("GET", "/containers/web/stats?stream=0")
    assert found["name"] == "/web"
    assert found["memory_stats"]["limit"] == 64 << 20
    assert found["cpu_stats"]["cpu_usage"]["total_usage"] > found["precpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert found["cpu_stats"]["online_cpus"] >= 1
    assert "eth0" in found["networks"]
    _, one = daemon.engine.api("GET", "/containers/web/stats?stream=0&one-shot=1")
    assert one["precpu_stats"]["cpu_usage"]["total_usage"] == 0


def test_a_stream_of_stats(daemon: Daemon) -> None:
    import http.client

    from tests import sockets

    daemon.up("web")
    connection = http.client.HTTPConnection("localhost")
    connection.sock = sockets.connect_unix(str(daemon.engine.socket_path), seconds=20)
    connection.request("GET", "/containers/web/stats")
    answer = connection.getresponse()
    times = [json.loads(answer.readline())["read"] for _ in range(3)]
    connection.close()
    assert times == sorted(times)


@pytest.mark.parametrize("path", ["/swarm", "/services", "/secrets", "/nodes", "/plugins/nosuch/json"])
def test_what_there_is_not_says_so(daemon: Daemon, path: str) -> None:
    status, answer = daemon.engine.api("GET", path)
    assert status in {404, 501, 503}
    assert answer["message"]


def test_the_daemon_answers_while_it_is_busy(daemon: Daemon) -> None:
    process = daemon.start("build", "--no-cache", "-", stdin=None)
    process.communicate(timeout=60)
    begun = time.monotonic()
    for _ in range(20):
        assert daemon.engine.api("GET", "/containers/json")[0] == 200
    assert time.monotonic() - begun < 10
