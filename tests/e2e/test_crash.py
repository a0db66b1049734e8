"""`kill -9` at every engine call of an apply, and cut answers: the next apply ends where an undisturbed one ends.

Each round applies the next generation of a stack (a build, a version, a job that must run once, replacements, changes in place,
a network made anew, removals, data in a volume), is killed on the way, applies again, and compares what the engine holds with
what it held after a round that nobody disturbed. So no round has to start from nothing.

CI takes a sample spread over all calls; `DECLARATIVE_CRASHES=all` takes every one, and a number takes that many.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli import Cli, clean_environment
from tests.recording_proxy import Call, RecordingProxy, Verdict, let_pass

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.embedded import EmbeddedEngine
    from tests.engines import Engine

_SAMPLE = os.environ.get("DECLARATIVE_CRASHES", "12")
_STACK = """\
{apiVersion: declarative/v1, kind: Stack, metadata: {name: crash}}
---
apiVersion: declarative/v1
kind: Image
metadata: {name: site}
spec:
  build:
    context: empty
    dockerfile_inline: |
      FROM busybox:latest
      ENV GENERATION=gen-%(number)s-
      CMD ["sleep", "9000"]
---
{apiVersion: declarative/v1, kind: TagScheme, metadata: {name: release}, spec: {image: site, version: "1.9.%(number)s"}}
---
{apiVersion: declarative/v1, kind: Network, metadata: {name: front}}
---
{apiVersion: declarative/v1, kind: Network, metadata: {name: back}, spec: {labels: {parity: "%(parity)s"}}}
---
{apiVersion: declarative/v1, kind: Volume, metadata: {name: data}}
---
apiVersion: declarative/v1
kind: Job
metadata: {name: seed}
spec:
  image: busybox
  volumes: ["data:/data"]
  command: [sh, -c, "echo seeded >> /data/seed"]
---
apiVersion: declarative/v1
kind: Job
metadata: {name: migrate}
spec:
  image: {image: site}
  depends_on: [seed, db]
  volumes: ["data:/data"]
  command: [sh, -c, "echo $GENERATION >> /data/migrations"]
---
apiVersion: declarative/v1
kind: Container
metadata: {name: db}
spec:
  image: {scheme: release, track: "1.9"}
  networks: [back]
  volumes: ["data:/data", /scratch]
  stop_signal: SIGKILL
  update: {monitor: 0s, deadline: 60s}
---
apiVersion: declarative/v1
kind: Container
metadata: {name: web}
spec:
  image: busybox
  command: [sleep, "9000"]
  replicas: 2
  depends_on: [migrate]
  networks: [front, back]
  environment: {GENERATION: "gen-%(number)s-"}
  files: [{target: /etc/web.conf, content: "yes"}]
  stop_signal: SIGKILL
  update: {monitor: 0s, deadline: 60s, order: start-first}
---
apiVersion: declarative/v1
kind: Container
metadata: {name: cache}
spec:
  image: busybox
  command: [sleep, "9000"]
  networks: [%(network)s]
  resources: {memory: %(memory)s}
  restart: %(restart)s
  stop_signal: SIGKILL
  update: {monitor: 0s, deadline: 60s}
"""
_ODD_ONLY = """\
---
{apiVersion: declarative/v1, kind: Network, metadata: {name: extra}}
---
apiVersion: declarative/v1
kind: Container
metadata: {name: old}
spec: {image: busybox, command: [sleep, "9000"], networks: [extra], stop_signal: SIGKILL, update: {monitor: 0s}}
"""
_ODD = {"parity": "odd", "network": "front", "memory": "32m", "restart": "always"}
_EVEN = {"parity": "even", "network": "back", "memory": "64m", "restart": "unless-stopped"}


def manifest(number: int) -> str:
    """Write the stack's generation `number`. Odd and even ones differ in what they have."""
    odd = number % 2 == 1
    return _STACK % {"number": number, **(_ODD if odd else _EVEN)} + (_ODD_ONLY if odd else "")


@dataclass(slots=True, kw_only=True)
class Harness:
    """The stack in an engine, the program behind a proxy that may kill it, and what calm rounds ended with."""

    engine: Engine
    folder: Path
    number: int = 0
    expected: dict[int, Any] = field(default_factory=dict)  # parity → the engine's contents
    calls: dict[int, int] = field(default_factory=dict)  # parity → requests that a calm apply makes

    @property
    def _socket(self) -> Path:
        assert self.engine.socket_path is not None
        return self.engine.socket_path

    def cli(self, url: str) -> Cli:
        return Cli(
            folder=self.folder,
            environment=clean_environment(self.folder, docker_host=url, plugins=self.folder / "no-plugins"),
        )

    def next_generation(self) -> None:
        self.number += 1
        (self.folder / "crash.yaml").write_text(manifest(self.number))

    def calm(self) -> None:
        """Apply the next generation undisturbed, and keep how that ends."""
        self.next_generation()
        with RecordingProxy(self._socket, self.folder / "p") as proxy:
            self.cli(proxy.url)("apply", "-f", "crash.yaml").expect(0)
            self.calls[self.number % 2] = len(proxy.calls)
        self.expect_in_sync()
        self.expected[self.number % 2] = self.contents()

    def disturbed(self, before: Callable[[Call], Verdict], after: Callable[[Call], Verdict]) -> tuple[int, str]:
        """Apply the next generation through the hooks; the exit code (negative: killed) and what it said."""
        self.next_generation()
        with RecordingProxy(self._socket, self.folder / "p", before=before, after=after) as proxy:
            process = self.cli(proxy.url).start("apply", "-f", "crash.yaml")
            VICTIM[:] = [process]
            out, err = process.communicate(timeout=120)
        return process.returncode, (out + err).decode()

    def recover(self, story: str) -> None:
        """Apply again, and compare."""
        ended = self.cli(self.engine.url)("apply", "-f", "crash.yaml")
        assert ended.code == 0, f"{story}: exit {ended.code}\n{ended.out}\n{ended.err}"
        self.expect_in_sync(story)
        found, expected = self.contents(), self.expected[self.number % 2]
        differing = {
            name: (found.get(name), expected.get(name))
            for name in found.keys() | expected.keys()
            if found.get(name) != expected.get(name)
        }
        assert differing == {}, f"{story}: {json.dumps(differing, indent=1, sort_keys=True)}"

    def expect_in_sync(self, story: str = "") -> None:
        ended = self.cli(self.engine.url)("plan", "-f", "crash.yaml", "--exit-code")
        assert ended.code == 0, f"{story}: not in sync\n{ended.out}\n{ended.err}"

    # ---- what the engine holds, the same for any two rounds of one parity

    def contents(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for row in self.engine.api("GET", "/containers/json?all=1")[1]:
            _, inspected = self.engine.api("GET", f"/containers/{row['Id']}/json")
            found[f"container {inspected['Name']}"] = self._plain(_container(inspected))
        for row in self.engine.api("GET", "/networks")[1]:
            found[f"network {row['Name']}"] = self._plain({"labels": row["Labels"], "options": row["Options"]})
        for row in self.engine.api("GET", "/volumes")[1]["Volumes"] or []:
            anonymous = re.fullmatch("[0-9a-f]{64}", row["Name"]) is not None
            kind = "anonymous volumes" if anonymous else f"volume {row['Name']}"
            found[kind] = found.get(kind, 0) + 1 if anonymous else self._plain({"labels": row["Labels"]})
        found["tags"] = self._tags()
        dangling = "/images/json?filters=" + json.dumps({"dangling": ["true"], "label": ["declarative.stack=crash"]})
        found["dangling images"] = len(self.engine.api("GET", dangling.replace('"', "%22").replace(" ", ""))[1])
        found["data"] = self._data()
        return found

    def _plain(self, value: object) -> Any:
        """Take out what names the generation, and salts of seals."""
        text = json.dumps(value, sort_keys=True)
        text = text.replace(f"gen-{self.number}-", "gen-N-").replace(f"1.9.{self.number}", "1.9.N")
        return json.loads(text)

    def _tags(self) -> Any:
        """Say which tags the site has that point to this generation's image, and that db runs it."""
        ids = {tag: row["Id"] for row in self.engine.api("GET", "/images/json")[1] for tag in row["RepoTags"] or []}
        full = ids.get(f"crash/site:1.9.{self.number}")
        _, db = self.engine.api("GET", "/containers/crash-db-1/json")
        same = sorted(tag for tag, found in ids.items() if found == full)
        return self._plain({"same": same, "db": db["Image"] == full})

    def _data(self) -> Any:
        ended = self.engine.docker("exec", "crash-db-1", "sh", "-c", "cat /data/seed; echo; cat /data/migrations")
        seeded, _, migrated = ended.stdout.partition("\n\n")
        wanted = [f"gen-{number}-" for number in range(1, self.number + 1)]
        return {"seed": seeded.split(), "migrations as wanted": migrated.split() == wanted or migrated.split()}


VICTIM: list[subprocess.Popen[bytes]] = []


def _container(inspected: dict[str, Any]) -> dict[str, Any]:
    config, host, state = inspected["Config"], inspected["HostConfig"], inspected["State"]
    networks = inspected["NetworkSettings"]["Networks"]
    short = inspected["Id"][:12]
    return {
        "config": {key: config.get(key) for key in ("Cmd", "Entrypoint", "User", "StopSignal")},
        "labels": {
            name: text
            for name, text in config["Labels"].items()
            if name not in {"declarative.build", "declarative.made"}
        },
        "environment": sorted(config["Env"] or []),
        "host": {key: host.get(key) for key in ("Memory", "MemorySwap", "RestartPolicy", "NetworkMode")},
        "mounts": sorted(f"{m['Type']} {m['Destination']} {m['RW']}" for m in inspected["Mounts"]),
        "networks": {name: sorted(set(how["Aliases"] or []) - {short}) for name, how in networks.items()},
        "state": [state["Status"], state["ExitCode"] if state["Status"] == "exited" else 0],
    }


@pytest.fixture(params=["docker_engine", "embedded_engine"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    """Give a stack after four calm rounds: from nothing, and then two of each kind, by which later ones are judged."""
    yield from _calmed(request.getfixturevalue(request.param), tmp_path)


def _calmed(engine: Engine, folder: Path) -> Iterator[Harness]:
    made = Harness(engine=engine, folder=folder)
    (folder / "empty").mkdir()
    for _ in range(4):
        made.calm()
    yield made
    engine.clear()
    engine.clear_images()


def _kill() -> None:
    while not VICTIM:
        time.sleep(0.001)
    VICTIM[0].send_signal(signal.SIGKILL)
    VICTIM[0].wait()


def _killing(at: int) -> Callable[[Call], Verdict]:
    def hook(call: Call) -> Verdict:
        if call.number != at:
            return Verdict.PASS
        _kill()
        return Verdict.CUT

    return hook


def _sample(calls: int, shift: int) -> list[int]:
    count = calls if _SAMPLE == "all" else min(calls, int(_SAMPLE))
    return sorted({1 + (shift + number * calls // count) % calls for number in range(count)})


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_call_the_next_apply_ends_where_a_calm_one_ends(harness: Harness, when: str) -> None:
    most = max(harness.calls.values())
    killed = 0
    for at in _sample(most, 0 if when == "before" else most // 24):
        VICTIM.clear()
        hooks = {"before": let_pass, "after": let_pass, when: _killing(at)}
        code, said = harness.disturbed(hooks["before"], hooks["after"])
        assert code in {-9, 0}, said  # 0: this generation took fewer calls
        killed += code == -9
        harness.recover(f"generation {harness.number}, killed {when} call {at} of {most}")
    assert killed > len(_sample(most, 0)) / 2


@pytest.mark.slow
def test_killed_at_any_time_the_next_apply_ends_where_a_calm_one_ends(harness: Harness) -> None:
    chance = random.Random(9)  # noqa: S311 - moments, not secrets
    for _ in range(6):
        VICTIM.clear()
        delay = chance.uniform(0.1, 2.5)
        harness.next_generation()
        process = harness.cli(harness.engine.url).start("apply", "-f", "crash.yaml")
        time.sleep(delay)
        process.kill()
        process.communicate()
        harness.recover(f"generation {harness.number}, killed after {delay:.3f} s")


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("verdict", [Verdict.CUT, Verdict.HALF])
def test_an_answer_cut_at_any_call_is_an_error_at_most_and_the_next_apply_converges(
    harness: Harness, verdict: Verdict
) -> None:
    most = max(harness.calls.values())
    for at in _sample(most, 3)[:: 1 if _SAMPLE == "all" else 2]:

        def cut(call: Call, at: int = at) -> Verdict:
            return verdict if call.number >= at and call.number < at + 6 else Verdict.PASS

        code, said = harness.disturbed(let_pass, cut)
        assert code in {0, 1}, said
        assert "Traceback" not in said
        assert code == 0 or said.strip(), "it failed without a word"
        harness.recover(f"generation {harness.number}, answers {at} to {at + 5} {verdict.value}")


@pytest.mark.slow
def test_the_daemon_killed_at_any_time_the_next_apply_ends_where_a_calm_one_ends(
    spare_embedded: EmbeddedEngine, tmp_path: Path
) -> None:
    chance = random.Random(10)  # noqa: S311 - moments, not secrets
    for harness in _calmed(spare_embedded, tmp_path):
        for _ in range(8):
            delay = chance.uniform(0.05, 2.0)
            harness.next_generation()
            process = harness.cli(harness.engine.url).start("apply", "-f", "crash.yaml")
            time.sleep(delay)
            harness.engine.kill()
            out, err = process.communicate(timeout=120)
            assert process.returncode in {0, 1}, out + err
            assert b"Traceback" not in out + err
            harness.engine.start_daemon()
            harness.recover(f"generation {harness.number}, daemon killed after {delay:.3f} s")
