"""Every example works as its first lines say, on a real engine and without the internet.

The rule that keeps it simple: a copy of `examples/` is prepared as a reader would do it, and the programs of this test are
`declarative`, what a recipe names, and the engine's own API to look at what came of it.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.engines import wait_until
from tests.registry_server import serve_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cli import Cli
    from tests.engines import Engine

_ROOT = Path(__file__).parents[2]
_EXAMPLES = _ROOT / "examples"
_NAMES = sorted(folder.name for folder in _EXAMPLES.iterdir() if folder.is_dir())
_ENVIRONMENT = {"DB_PASSWORD": "open-sesame", "OPERATOR": "alice", "CI_COMMIT_SHORT_SHA": "0badcafe"}
_WITHOUT_INTERNET = [name for name in _NAMES if name not in {"debian", "semver"}]


@pytest.fixture
def examples(tmp_path: Path, declarative_cli: Cli, docker_engine: Engine) -> Iterator[Path]:
    """Copy and prepare them, in a git repository of their own; images that they leave are removed."""
    folder = tmp_path / "examples"
    shutil.copytree(_EXAMPLES, folder, ignore=shutil.ignore_patterns("rootfs.tar"))
    _bash(folder, "bash prepare")
    _bash(folder, "git init -q . && git -c user.name=t -c user.email=t@example.com commit -q --allow-empty -m first")
    before = docker_engine.contents().images
    yield folder
    for name in _NAMES:
        stack = "myimage" if name == "semver" else name
        declarative_cli("destroy", "--stack", stack, "--yes", "--delete-volumes")
    for image in docker_engine.contents().images - before:
        docker_engine.api("DELETE", f"/images/{image}?force=1")


@pytest.mark.parametrize("name", _NAMES)
def test_an_example_names_the_schema_and_how_to_run_it(name: str) -> None:
    for file in [*(_EXAMPLES / name).glob("*.yaml"), *(_EXAMPLES / name).glob("*.yaml.j2")]:
        line = file.read_text().splitlines()[0]
        assert line.startswith("# yaml-language-server: $schema=")
        schema = file.parent / line.partition("$schema=")[2]
        assert schema.is_file()
    text = (_EXAMPLES / name / "stack.yaml").read_text()
    assert f"declarative apply -f examples/{name}" in text or "declarative apply plan.json" in text


@pytest.mark.parametrize("name", _WITHOUT_INTERNET)
def test_an_example_applies_and_then_there_is_nothing_to_do(name: str, examples: Path, declarative_cli: Cli) -> None:
    file = examples / name
    declarative_cli("validate", "-f", file, env=_ENVIRONMENT).expect(0)
    declarative_cli("apply", "-f", file, env=_ENVIRONMENT).expect(0)
    declarative_cli("status", "-f", file, "--exit-code", env=_ENVIRONMENT).expect(0)
    declarative_cli("plan", "-f", file, "--exit-code", env=_ENVIRONMENT).expect(0)
    declarative_cli("apply", "-f", file, "--exit-code", env=_ENVIRONMENT).expect(0)
    declarative_cli("drift", "-f", file, env=_ENVIRONMENT).expect(0)


def test_preparing_twice_changes_no_byte(examples: Path) -> None:
    archive = examples / "shop/rootfs.tar"
    before = (archive.read_bytes(), archive.stat().st_mtime_ns)
    _bash(examples, "bash prepare && bash prepare shop")
    assert (archive.read_bytes(), archive.stat().st_mtime_ns) == before


@pytest.mark.slow
def test_the_one_line_of_the_readme_shows_the_page(examples: Path, declarative_cli: Cli, docker_engine: Engine) -> None:
    # The program is installed already: the script finds it where it would have installed it.
    (examples.parent / ".venv").symlink_to(sys.prefix)
    environment = {**declarative_cli.environment, "DOCKER_HOST": docker_engine.url}
    ended = subprocess.run(
        ["bash", "examples/start"], check=False, capture_output=True, text=True, cwd=examples.parent, env=environment
    )
    assert ended.returncode == 0, ended.stderr
    assert "hello-web-1  running" in ended.stdout
    assert "Hello from a container" in ended.stdout


@pytest.mark.slow
def test_the_one_line_of_the_readme_needs_no_docker(examples: Path, declarative_cli: Cli, tmp_path: Path) -> None:
    """Without a socket of Docker or Podman, in namespaces of its own, the engine that comes with the program does it."""
    (examples.parent / ".venv").symlink_to(sys.prefix)
    (tmp_path / "bare").write_text(_BARE_MACHINE)
    environment = {**declarative_cli.environment, "DECLARATIVE_ENGINE_ROOT": str(tmp_path / "e")}
    environment.pop("DOCKER_HOST")
    ended = subprocess.run(
        ["unshare", "--net", "--mount", "bash", str(tmp_path / "bare")],
        check=False, capture_output=True, text=True, cwd=examples.parent, env=environment,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "hello-web-1  running" in ended.stdout
    assert "Hello from a container" in ended.stdout
    assert "hello: in sync, nothing to do" in ended.stdout
    assert "hello-web-1" not in ended.stdout.partition("hello: 2 removed")[2]


_BARE_MACHINE = """
set -e
mount -t tmpfs tmpfs /run
ip link set lo up
trap '.venv/bin/declarative engine stop' EXIT
bash examples/start
.venv/bin/declarative apply -f examples/hello
.venv/bin/declarative destroy -f examples/hello --yes
"""


@pytest.mark.slow
def test_the_first_two_minutes_of_the_readme_go_as_written(
    examples: Path, declarative_cli: Cli, docker_engine: Engine
) -> None:
    lines = _first_stack()
    assert len(lines) > 15
    said: dict[str, str] = {}
    environment = {**declarative_cli.environment, "DOCKER_HOST": docker_engine.url}
    for line in lines:
        wanted = re.search(r"# exit (\d)", line)
        command = line.replace("curl ", "curl -fsS --retry 10 --retry-connrefused ")
        ended = subprocess.run(
            ["bash", "-c", command],
            check=False, capture_output=True, text=True, cwd=examples.parent, env=environment,
        )  # fmt: skip
        said[line.split(" #")[0].strip()] = ended.stdout
        assert ended.returncode == (int(wanted[1]) if wanted else 0), f"{line}\n{ended.stdout}\n{ended.stderr}"
    assert said["curl http://localhost:8080/"] == "Hello again.\n"
    assert "context/index.html" in said["declarative plan -f examples/hello --exit-code"]
    assert "index.html" in said["declarative exec -f examples/hello web -- ls /srv"]
    assert not _running(docker_engine, "hello-")


def _first_stack() -> list[str]:
    section = (_ROOT / "README.md").read_text().partition("## A first stack in two minutes")[2]
    shown = section.partition("For a stack of your own")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", shown, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


# ---- what single examples promise


def test_the_shop_reads_its_database_and_shows_no_password(
    examples: Path, declarative_cli: Cli, docker_engine: Engine
) -> None:
    ended = declarative_cli("apply", "-f", examples / "shop", env=_ENVIRONMENT).expect(0)
    assert _page(docker_engine, 8081, "/cgi-bin/page") == "In the shop:\napples\n"
    changed = declarative_cli("plan", "-f", examples / "shop", env={**_ENVIRONMENT, "DB_PASSWORD": "new-word"})
    shown = ended.out + ended.err + changed.out + changed.err
    assert "open-sesame" not in shown
    assert "new-word" not in shown
    assert "*** → ***" in changed.out


@pytest.mark.slow
def test_a_newer_engine_takes_the_shop_too(examples: Path, docker26: Engine, cli_for: Callable[[Engine], Cli]) -> None:
    cli = cli_for(docker26)
    cli("apply", "-f", examples / "shop", env=_ENVIRONMENT).expect(0)
    assert _page(docker26, 8081, "/cgi-bin/page") == "In the shop:\napples\n"
    cli("plan", "-f", examples / "shop", "--exit-code", env=_ENVIRONMENT).expect(0)
    cli("destroy", "--stack", "shop", "--yes", "--delete-volumes").expect(0)
    held = docker26.contents()
    assert not {name for name in held.containers | held.networks | held.volumes if name.startswith("shop")}


def test_a_job_runs_once_for_each_version_of_it(examples: Path, declarative_cli: Cli, docker_engine: Engine) -> None:
    for schema in ("1", "1", "2"):
        declarative_cli("apply", "-f", examples / "jobs", "--set", f"schema={schema}").expect(0)
    log = docker_engine.docker("exec", "jobs-reader-1", "cat", "/data/log").stdout
    assert log.splitlines() == ["schema 1", "seed", "schema 2"]


def test_a_broken_rollout_leaves_the_old_replicas_running(
    examples: Path, declarative_cli: Cli, docker_engine: Engine
) -> None:
    file = examples / "rollout"
    declarative_cli("apply", "-f", file).expect(0)
    before = _running(docker_engine, "rollout-web-")
    declarative_cli("apply", "-f", file, "--set", "broken=true").expect(1)
    assert _running(docker_engine, "rollout-web-") == before
    declarative_cli("apply", "-f", file, "--set", "text=second").expect(0)
    after = _running(docker_engine, "rollout-web-")
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())
    declarative_cli("apply", "-f", file, "--set", "text=second", "--set", "replicas=2").expect(0)
    assert set(_running(docker_engine, "rollout-web-")) == {"rollout-web-1", "rollout-web-2"}
    declarative_cli("rollout", "undo", "-f", file).expect(0)
    assert len(_running(docker_engine, "rollout-web-")) == 4


def test_templates_take_values_files_and_single_values(
    examples: Path, declarative_cli: Cli, docker_engine: Engine
) -> None:
    production = examples / "templated/values/production.yaml"
    options = ["--values", str(production), "--set", "sites.green.port=8094"]
    declarative_cli("apply", "-f", examples / "templated", *options, env=_ENVIRONMENT).expect(0)
    assert _page(docker_engine, 8094) == "green is the colour of the wood\n"
    blue = docker_engine.api("GET", "/containers/templated-blue-1/json")[1]
    assert blue["HostConfig"]["Memory"] == 64 * 1024 * 1024
    assert blue["Config"]["Labels"]["com.example.operator"] == "alice"
    refused = declarative_cli("plan", "-f", examples / "templated").expect(1)
    assert "env.OPERATOR" in refused.err


def test_networks_give_names_addresses_and_neighbours(
    examples: Path, declarative_cli: Cli, docker_engine: Engine
) -> None:
    declarative_cli("apply", "-f", examples / "networks").expect(0)
    for host in ("wiki.internal", "server", "wiki-by-number.internal"):
        ended = docker_engine.docker("exec", "networks-client-1", "wget", "-q", "-O", "-", f"http://{host}/")
        assert ended.stdout == "served from 10.203.7.10\n"
    assert docker_engine.docker("logs", "networks-probe-1").stdout == "served from 10.203.7.10\n"


@pytest.mark.slow
@pytest.mark.timeout(900)  # a mirror may be slow
def test_a_debian_is_a_base_image(examples: Path, declarative_cli: Cli, docker_engine: Engine) -> None:
    _bash(examples / "debian", "bash prepare")
    declarative_cli("apply", "-f", examples / "debian", seconds=600).expect(0)
    declarative_cli("plan", "-f", examples / "debian", "--exit-code").expect(0)
    assert "directories" in docker_engine.docker("logs", "debian-app-1").stdout


# ---- recipes


def test_cron_tells_a_drift_once_and_not_what_is_ignored(
    examples: Path, declarative_cli: Cli, docker_engine: Engine, tmp_path: Path
) -> None:
    look, mend = _cron_lines(examples / "drift/crontab", examples / "drift", tmp_path)
    declarative_cli("apply", "-f", examples / "drift").expect(0)
    docker_engine.docker("update", "--memory", "48m", "--memory-swap", "96m", "drift-web-1")
    assert declarative_cli(*look).expect(0).out == ""
    docker_engine.docker("stop", "-t", "0", "drift-web-1")
    assert "web-1" in declarative_cli(*look).expect(3).out
    assert declarative_cli(*look).expect(0).out == ""
    assert 'stack="drift"' in (tmp_path / "shop.prom").read_text()
    declarative_cli(*mend).expect(0)
    assert declarative_cli(*look).expect(0).out == ""
    assert "drift-web-1" in _running(docker_engine, "drift-web-1")


def test_a_pipeline_applies_the_plan_that_was_read(
    examples: Path, declarative_cli: Cli, docker_engine: Engine, tmp_path: Path
) -> None:
    stages = yaml.safe_load((examples / "pipeline/ci/gitlab-ci.yml").read_text())
    environment = {**declarative_cli.environment, **_ENVIRONMENT, "STACK": str(examples / "pipeline/stack.yaml")}
    for stage in ("validate", "plan", "apply"):
        for line in stages[stage]["script"]:
            _bash(tmp_path, line, environment)
    assert "pipeline-web-1" in _running(docker_engine, "pipeline-web")
    declarative_cli("plan", "-f", environment["STACK"], "--out", "old.json", env=_ENVIRONMENT)
    changed = {**_ENVIRONMENT, "CI_COMMIT_SHORT_SHA": "1badcafe"}
    declarative_cli("plan", "-f", environment["STACK"], "--out", "stale.json", env=changed)
    docker_engine.docker("rm", "-f", "pipeline-web-1")
    refused = declarative_cli("apply", "stale.json", env=changed).expect(1)
    assert "web-1" in refused.err


# ---- the sequence of semantic versions

_WALK = {
    "v1.9.1": {"1": "v1.9.1", "1.9": "v1.9.1", "1.9.1": "v1.9.1", "latest": "v1.9.1"},
    "v1.9.2": {"1": "v1.9.2", "1.9": "v1.9.2", "1.9.2": "v1.9.2", "latest": "v1.9.2"},
    "v2.0.0": {"2": "v2.0.0", "2.0": "v2.0.0", "2.0.0": "v2.0.0", "latest": "v2.0.0"},
    "v1.9.3": {"1": "v1.9.3", "1.9": "v1.9.3", "1.9.3": "v1.9.3"},
}
"""What each step moves; every other tag stays where it is."""
_TRACKS = {
    "v1.9.1": ("v1.9.1", "v1.9.1"),
    "v1.9.2": ("v1.9.2", "v1.9.2"),
    "v2.0.0": ("v1.9.2", "v2.0.0"),
    "v1.9.3": ("v1.9.3", "v2.0.0"),
}
"""What `stable` (track 1) and `newest` (track latest) run after each step."""


def test_versions_move_the_tags_that_must_move(examples: Path, declarative_cli: Cli, docker_engine: Engine) -> None:
    expected: dict[str, str] = {}
    for version, moved in _WALK.items():
        options = ["-f", str(examples / "semver"), "--set", f"version={version}"]
        declarative_cli("apply", *options).expect(0)
        expected |= moved
        assert _versions(docker_engine, _local_tags(docker_engine, "myimage")) == expected
        assert (_said(docker_engine, "stable"), _said(docker_engine, "newest")) == _TRACKS[version]
        declarative_cli("plan", *options, "--exit-code").expect(0)


@pytest.mark.parametrize("password", [None, "open-sesame"])
def test_a_registry_holds_the_same_tags(
    password: str | None, examples: Path, declarative_cli: Cli, docker_engine: Engine, tmp_path: Path
) -> None:
    users = {"robot": password} if password else None
    with serve_registry(tmp_path / "served", htpasswd=users) as address:
        if password:
            _log_in(declarative_cli, address, "robot", password)
        expected: dict[str, str] = {}
        digests: dict[str, str] = {}
        for version, moved in _WALK.items():
            settings = [f"version={version}", "push=true", f"registry={address}/team/"]
            options = ["-f", str(examples / "semver"), *(part for value in settings for part in ("--set", value))]
            declarative_cli("apply", *options).expect(0)
            expected |= moved
            digests[version] = _registry_tags(address, password)[version.removeprefix("v")]
            named = {digest: name for name, digest in digests.items()}
            assert {tag: named[digest] for tag, digest in _registry_tags(address, password).items()} == expected
            local = _local_tags(docker_engine, f"{address}/team/myimage")
            assert _versions(docker_engine, local) == expected
            declarative_cli("plan", *options, "--exit-code").expect(0)


def test_a_published_version_keeps_its_content(examples: Path, declarative_cli: Cli) -> None:
    options = ["-f", str(examples / "semver"), "--set", "version=v1.9.1"]
    declarative_cli("apply", *options).expect(0)
    with (examples / "semver/app/Dockerfile").open("a") as dockerfile:
        dockerfile.write("LABEL changed=yes\n")
    refused = declarative_cli("apply", *options).expect(1)
    assert "1.9.1" in refused.err
    assert "--allow-retag" in refused.err


# ---- looking


def _bash(folder: Path, line: str, environment: dict[str, str] | None = None) -> None:
    ended = subprocess.run(
        ["bash", "-c", line], check=False, capture_output=True, text=True, cwd=folder, env=environment
    )
    assert ended.returncode == 0, f"{line}: exit {ended.returncode}\n{ended.stdout}\n{ended.stderr}"


def _page(engine: Engine, port: int, path: str = "/") -> str:
    page: list[str] = []

    def answers() -> bool:
        with contextlib.suppress(OSError):
            page[:] = [engine.http_get(port, path)[1]]
        return bool(page)

    wait_until(answers, "the page", 10)
    return page[0]


def _running(engine: Engine, prefix: str) -> dict[str, str]:
    _, rows = engine.api("GET", "/containers/json")
    found = {row["Names"][0].lstrip("/"): row["Id"] for row in rows}
    return {name: container for name, container in found.items() if name.startswith(prefix)}


def _cron_lines(crontab: Path, stack: Path, folder: Path) -> list[list[str]]:
    """Give the commands of a crontab in /etc/cron.d, with the folders of this test."""
    found = []
    for line in crontab.read_text().splitlines():
        fields = line.split(maxsplit=6)
        if len(fields) == 7 and fields[5] == "root" and not line.startswith("#"):
            program, *words = shlex.split(fields[6])
            assert program == "declarative"
            places = {"/etc/declarative/shop": str(stack)}
            for place in ("/var/lib/declarative", "/var/lib/node_exporter"):
                words = [word.replace(place, str(folder)) for word in words]
            found.append([places.get(word, word) for word in words])
    return found


def _local_tags(engine: Engine, repository: str) -> dict[str, str]:
    """Tag → image id."""
    _, rows = engine.api("GET", "/images/json")
    pairs = [(name.rpartition(":"), row["Id"]) for row in rows for name in row["RepoTags"] or []]
    return {tag: image for (name, _, tag), image in pairs if name == repository}


def _versions(engine: Engine, tags: dict[str, str]) -> dict[str, str]:
    """Tag → what the image itself holds in /version."""
    read = {
        image: engine.docker("run", "--rm", "--network=none", image, "cat", "/version").stdout.strip()
        for image in set(tags.values())
    }
    return {tag: read[image] for tag, image in tags.items()}


def _said(engine: Engine, name: str) -> str:
    lines: list[str] = []

    def spoke() -> bool:
        lines[:] = engine.docker("logs", f"myimage-{name}-1").stdout.split()
        return len(lines) == 2

    wait_until(spoke, f"{name} to say its version", 10)
    return lines[1]


def _log_in(cli: Cli, address: str, user: str, password: str) -> None:
    """Leave what `docker login` leaves."""
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    Path(cli.environment["DOCKER_CONFIG"], "config.json").write_text(json.dumps({"auths": {address: {"auth": auth}}}))


def _registry_tags(address: str, password: str | None) -> dict[str, str]:
    """Tag → digest, as the registry says."""
    tags = json.loads(_ask(address, "GET", "/v2/team/myimage/tags/list", password)[1])["tags"]
    return {tag: _ask(address, "HEAD", f"/v2/team/myimage/manifests/{tag}", password)[0] for tag in tags}


def _ask(address: str, method: str, path: str, password: str | None) -> tuple[str, str]:
    headers = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    if password:
        headers["Authorization"] = "Basic " + base64.b64encode(f"robot:{password}".encode()).decode()
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200, f"{method} {path}: {answer.status}"
        return answer.headers.get("Docker-Content-Digest", ""), answer.read().decode()
    finally:
        connection.close()
