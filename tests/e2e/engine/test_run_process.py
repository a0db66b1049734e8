"""`docker run`: what the process is, and how the client sees it start and end."""

from __future__ import annotations

import platform
import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.engine.clients import FOREVER, HEX64, IMAGE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.engine.clients import Daemon


def test_it_prints_what_the_program_prints_with_the_streams_apart(daemon: Daemon) -> None:
    ended = daemon.docker("run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("out\n", "err\n", 7)
    assert daemon.lines("ps", "-aq") == []


def test_the_image_says_what_runs_where_the_command_line_does_not(daemon: Daemon) -> None:
    assert daemon.docker("run", "-i", "--rm", IMAGE, stdin="echo $0\n").stdout == "sh\n"


def test_detached_it_prints_the_id_and_runs_on(daemon: Daemon) -> None:
    made = daemon.out("run", "-d", "--name", "web", IMAGE, *FOREVER)
    assert HEX64.fullmatch(made)
    assert daemon.field("web", "{{.Id}} {{.State.Running}}") == f"{made} true"
    assert daemon.out("ps", "-q", "--no-trunc") == made


def test_without_a_name_it_gets_one_of_two_words(daemon: Daemon) -> None:
    daemon.out("run", "-d", IMAGE, *FOREVER)
    (name,) = daemon.lines("ps", "--format", "{{.Names}}")
    first, _, second = name.partition("_")
    assert first.isalpha()
    assert second.isalnum()


def test_a_name_that_is_taken_is_a_conflict_and_nothing_is_made(daemon: Daemon) -> None:
    made = daemon.up("web")
    said = daemon.fails("run", "--name", "web", IMAGE, "true", code=125)
    assert f'Conflict. The container name "/web" is already in use by container "{made}"' in said
    assert len(daemon.lines("ps", "-aq")) == 1


@pytest.mark.parametrize("name", ["-x", "a b", "a/b", "ä", "x"])
def test_a_name_of_other_characters_or_of_one_is_refused(daemon: Daemon, name: str) -> None:
    assert "Invalid container name" in daemon.fails("create", f"--name={name}", IMAGE)


def test_environment_comes_from_the_image_the_files_and_the_options_in_this_order(
    daemon: Daemon, tmp_path: Path
) -> None:
    (tmp_path / "vars").write_text("# comment\nA=file\nB=file\nC=with = and spaces\nFROM_CALLER\n\n")
    script = "echo $A $B $C $FROM_CALLER $PATH; echo [${EMPTY-unset}]; hostname"
    ended = daemon.docker(
        "run", "--rm", "--env-file", str(tmp_path / "vars"), "-e", "B=option", "-e", "EMPTY=", "-h", "box",
        IMAGE, "sh", "-c", script, env={"FROM_CALLER": "caller"},
    )  # fmt: skip
    path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    assert ended.stdout.splitlines() == [f"file option with = and spaces caller {path}", "[]", "box"]


def test_the_environment_has_what_every_container_has(daemon: Daemon) -> None:
    assert sorted(daemon.run("-h", "box", IMAGE, "env").splitlines()) == [
        "HOME=/root",
        "HOSTNAME=box",
        "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    ]
    with daemon.terminal("run", "--rm", "-t", IMAGE, "sh", "-c", "echo TERM is $TERM") as terminal:
        assert terminal.finish() == 0
        assert terminal.seen.strip() == "TERM is xterm"


@pytest.mark.parametrize(
    ("user", "wanted"),
    [
        ("nobody", "uid=65534(nobody) gid=65534(nogroup)"),
        ("65534", "uid=65534(nobody) gid=65534(nogroup)"),
        ("1234", "uid=1234 gid=0(root)"),
        ("1234:5678", "uid=1234 gid=5678"),
        ("nobody:root", "uid=65534(nobody) gid=0(root)"),
        (":5", "uid=0(root) gid=5"),
    ],
)
def test_a_user_is_looked_up_in_the_image(daemon: Daemon, user: str, wanted: str) -> None:
    assert daemon.run("-u", user, IMAGE, "id").startswith(wanted)


def test_a_user_that_the_image_does_not_have_is_refused(daemon: Daemon) -> None:
    said = daemon.fails("run", "-u", "ghost", IMAGE, "id", code=125)
    assert "unable to find user ghost: no matching entries in passwd file" in said


def test_more_groups_are_added(daemon: Daemon) -> None:
    ids = daemon.run("-u", "nobody", "--group-add", "55", "--group-add", "root", IMAGE, "id", "-G").split()
    assert set(ids) == {"65534", "55", "0"}


def test_a_working_directory_is_made_where_there_is_none(daemon: Daemon) -> None:
    assert daemon.run("-w", "/new/deep", IMAGE, "pwd") == "/new/deep"
    assert daemon.run(IMAGE, "pwd") == "/"
    assert "working directory" in daemon.fails("run", "--rm", "-w", "not/absolute", IMAGE, "pwd", code=125)


def test_an_entrypoint_takes_the_image_s_place_and_its_command_away(daemon: Daemon) -> None:
    daemon.docker("build", "-t", "speaks", "-", stdin=f'FROM {IMAGE}\nENTRYPOINT ["echo", "image"]\nCMD ["cmd"]\n')
    assert daemon.run("speaks") == "image cmd"
    assert daemon.run("speaks", "mine") == "image mine"
    assert daemon.run("--entrypoint", "cat", "speaks", "/etc/group").startswith("root:")
    assert daemon.run("--entrypoint", "pwd", "speaks") == "/"


def test_host_and_domain_name(daemon: Daemon) -> None:
    assert daemon.run("--hostname", "box", "--domainname", "example.test", IMAGE, "hostname") == "box"
    kept = daemon.run("--hostname", "box", IMAGE, "cat", "/etc/hostname", "/etc/hosts")
    assert kept.startswith("box\n127.0.0.1\tlocalhost\n")
    assert kept.splitlines()[-1].split("\t")[1] == "box"
    short = daemon.up("web")[:12]
    assert daemon.sh("web", "hostname") == short
    for options in (
        ("--hostname", "box.example.test"),
        ("--hostname", "box", "--domainname", "example.test"),
        ("--hostname", "box.example", "--domainname", "test"),
    ):
        seen = daemon.run(*options, IMAGE, "cat", "/etc/hosts")
        assert seen.splitlines()[-1].split("\t")[1] == "box.example.test box"


def test_labels_from_options_and_files(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("c=file\na=file\n")
    daemon.up("web", "--label-file", str(tmp_path / "labels"), "-l", "a=option", "--label", "b", "-l", "d=x=y")
    assert daemon.inspect("web")["Config"]["Labels"] == {"a": "option", "b": "", "c": "file", "d": "x=y"}


def test_cidfile_holds_the_id_and_is_not_written_over(daemon: Daemon, tmp_path: Path) -> None:
    path = str(tmp_path / "cid")
    made = daemon.out("run", "-d", "--cidfile", path, IMAGE, *FOREVER)
    assert (tmp_path / "cid").read_text() == made
    assert "container ID file found" in daemon.fails("run", "--cidfile", path, IMAGE, "true")


def test_one_stream_alone_can_be_attached(daemon: Daemon) -> None:
    script = "echo out; echo err >&2"
    ended = daemon.docker("run", "--rm", "-a", "stderr", IMAGE, "sh", "-c", script)
    assert (ended.stdout, ended.stderr) == ("", "err\n")
    ended = daemon.docker("run", "--rm", "-a", "stdout", IMAGE, "sh", "-c", script)
    assert (ended.stdout, ended.stderr) == ("out\n", "")
    ended = daemon.docker("run", "--rm", "-i", "-a", "stdin", "-a", "stdout", IMAGE, "tr", "a", "b", stdin="banana\n")
    assert ended.stdout == "bbnbnb\n"


def test_pull_policies(daemon: Daemon, pushed: str) -> None:
    name = f"{pushed}/app:1"
    said = daemon.fails("run", "--pull", "never", name, "true", code=125)
    assert f"No such image: {name}" in said
    daemon.docker("tag", IMAGE, name)
    daemon.docker("push", name)
    daemon.docker("rmi", name)
    ended = daemon.docker("run", "--rm", name, "echo", "pulled")
    assert ended.stdout == "pulled\n"
    assert f"Unable to find image '{name}' locally" in ended.stderr
    assert "Status: Downloaded newer image" in ended.stderr
    ended = daemon.docker("run", "--rm", "--pull", "always", name, "true")
    assert "Image is up to date" in ended.stderr
    assert "Unable" not in daemon.docker("run", "--rm", name, "true").stderr


def test_a_platform_that_the_image_is_not_of(daemon: Daemon) -> None:
    here = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    assert daemon.run("--pull", "never", "--platform", f"linux/{here}", IMAGE, "echo", "fits") == "fits"
    said = daemon.fails("run", "--pull", "never", "--platform", "linux/s390x", IMAGE, "true", code=125)
    assert "was found but " in said
    assert "does not " in said


@pytest.mark.parametrize(
    ("command", "code", "phrase"),
    [
        (("/no/such",), 127, "no such file or directory"),
        (("nosuch",), 127, "executable file not found in $PATH"),
        (("/etc",), 126, "permission denied"),
        (("/etc/passwd",), 126, "permission denied"),
    ],
)
def test_a_program_that_cannot_start_is_126_or_127(
    daemon: Daemon, command: tuple[str, ...], code: int, phrase: str
) -> None:
    ended = daemon.docker("run", "--name", "bad", IMAGE, *command, check=False)
    assert ended.returncode == code
    assert phrase in ended.stderr
    state = daemon.inspect("bad")["State"]
    assert (state["Status"], state["ExitCode"], state["Running"]) == ("created", code, False)
    assert phrase in state["Error"]


@pytest.mark.parametrize(("script", "code"), [("kill -9 $$", 137), ("kill -TERM $$", 143), ("exit 255", 255)])
def test_a_signal_s_death_is_128_and_its_number(daemon: Daemon, script: str, code: int) -> None:
    ended = daemon.docker("run", "--rm", "--init", IMAGE, "sh", "-c", f"sh -c '{script}'", check=False)
    assert ended.returncode == code


def test_an_init_reaps_and_passes_signals_on(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "plain", IMAGE, *FOREVER)
    daemon.docker("run", "-d", "--name", "web", "--init", "--stop-signal", "SIGTERM", IMAGE, *FOREVER)
    assert daemon.sh("web", "cat /proc/1/comm") in {"docker-init", "tini", "catatonit", "init"}
    assert daemon.sh("plain", "cat /proc/1/comm") == "sleep"
    daemon.docker("stop", "-t", "60", "web")  # a sleep that is process 1 itself would not end of SIGTERM
    assert daemon.field("web", "{{.State.ExitCode}}") == "143"
    daemon.docker("run", "-d", "--name", "orphans", "--init", IMAGE, "sh", "-c", "(sleep 0.1 &) ; exec sleep 9000")
    daemon.sh("orphans", "sleep 0.4")
    assert "Z" not in daemon.sh("orphans", "ps -o stat")


def test_signals_to_the_client_reach_the_program(daemon: Daemon) -> None:
    script = "trap 'echo got it; exit 5' USR1; echo ready; while :; do sleep 0.1; done"
    process = daemon.start("run", "--rm", IMAGE, "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGUSR1)
    out, _ = process.communicate(timeout=30)
    assert (out, process.returncode) == (b"got it\n", 5)


def test_create_makes_and_start_runs(daemon: Daemon) -> None:
    made = daemon.out("create", "--name", "later", IMAGE, "echo", "now")
    assert HEX64.fullmatch(made)
    assert daemon.state("later") == "created"
    assert daemon.out("start", "-a", "later") == "now"
    assert daemon.out("start", "later") == "later"


def test_what_is_asked_wrongly_is_refused_with_125(daemon: Daemon) -> None:
    assert "no command specified" in daemon.fails("run", "--entrypoint", "", _bare(daemon), code=125).lower()
    assert "No such image" in daemon.fails("create", "--pull", "never", "nosuch:1")


def _bare(daemon: Daemon) -> str:
    daemon.docker("build", "-t", "bare", "-", stdin="FROM scratch\nLABEL a=b\n")
    return "bare"
