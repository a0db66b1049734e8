"""`docker build` with the classic builder: options, cache, output, and a failed build that is debugged by running a layer."""

from __future__ import annotations

import re
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.e2e.engine.clients import IMAGE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.engine.clients import Daemon


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    folder.mkdir()
    return folder


def write(context: Path, dockerfile: str, **files: str) -> str:
    (context / "Dockerfile").write_text(dockerfile)
    for name, text in files.items():
        (context / name).write_text(text)
    return str(context)


def ids(output: str) -> list[str]:
    """Name the layers that a build ended its steps with."""
    return re.findall(r"^ ---> ([0-9a-f]{12})$", output, re.MULTILINE)


def test_it_prints_what_the_classic_builder_prints(daemon: Daemon, context: Path) -> None:
    where = write(
        context,
        f'FROM {IMAGE}\nCOPY file /file\nRUN cat /file && echo err >&2\nCMD ["cat", "/file"]\n',
        file="content\n",
    )
    out = daemon.docker("build", "-t", "app:1", where).stdout
    pattern = (
        r"Step 1/4 : FROM busybox:latest\n ---> [0-9a-f]{12}\n"
        r"Step 2/4 : COPY file /file\n ---> [0-9a-f]{12}\n"
        r"Step 3/4 : RUN cat /file && echo err >&2\n ---> Running in [0-9a-f]{12}\n"
    )
    assert re.search(pattern, out), out
    assert "content\n" in out
    assert re.search(r"Step 4/4 : CMD \[\"cat\", \"/file\"\]\n( ---> Running in [0-9a-f]{12}\n)?", out), out
    assert re.search(r"Successfully built [0-9a-f]{12}\nSuccessfully tagged app:1\n$", out), out
    assert daemon.run("app:1") == "content"
    assert daemon.lines("ps", "-aq") == []


def test_from_standard_input(daemon: Daemon, context: Path) -> None:
    daemon.docker("build", "-t", "app:1", "-", stdin=f"FROM {IMAGE}\nRUN echo from stdin > /file\n")
    assert daemon.run("app:1", "cat", "/file") == "from stdin"
    where = write(context, "FROM nonsense", file="sent\n")
    daemon.docker("build", "-t", "app:2", "-f", "-", where, stdin=f"FROM {IMAGE}\nCOPY file /file\n")
    assert daemon.run("app:2", "cat", "/file") == "sent"
    with tarfile.open(context / "c.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        write(context, f"FROM {IMAGE}\nCOPY file /file\n", file="in an archive\n")
        archive.add(context / "Dockerfile", "Dockerfile")
        archive.add(context / "file", "file")
    subprocess.run(
        daemon.argv("build", "-q", "-t", "app:3", "-"),
        input=(context / "c.tar").read_bytes(),
        check=True,
        capture_output=True,
        env=daemon.environment(),
    )
    assert daemon.run("app:3", "cat", "/file") == "in an archive"


def test_another_file_and_what_is_ignored(daemon: Daemon, context: Path) -> None:
    where = write(context, "FROM nonsense", keep="k\n", secret="s\n")
    (context / ".dockerignore").write_text("secret\nother\n")
    (context / "other").write_text(f"FROM {IMAGE}\nCOPY . /all\n")
    daemon.docker("build", "-t", "app:1", "-f", str(context / "other"), where)
    assert "secret" not in daemon.run("app:1", "ls", "-a", "/all").split()
    assert "keep" in daemon.run("app:1", "ls", "/all").split()


def test_arguments_and_targets(daemon: Daemon, context: Path) -> None:
    dockerfile = f"ARG BASE={IMAGE}\nFROM $BASE AS first\nARG WHO=nobody\nRUN echo $WHO > /who\n"
    dockerfile += "FROM first AS second\nRUN echo second >> /who\nFROM first\nARG BASE\nRUN echo last >> /who\n"
    where = write(context, dockerfile)
    daemon.docker("build", "-t", "app:1", "--build-arg", "WHO=me", "--target", "second", where)
    assert daemon.run("app:1", "cat", "/who") == "me\nsecond"
    daemon.docker("build", "-t", "app:2", where)
    assert daemon.run("app:2", "cat", "/who") == "nobody\nlast"
    ended = daemon.docker("build", "--build-arg", "NOSUCH=1", where)
    assert "[Warning] One or more build-args [NOSUCH] were not consumed" in ended.stdout + ended.stderr
    assert "nosuch" in daemon.fails("build", "--target", "nosuch", where)


def test_stages_copy_from_each_other_and_from_images(daemon: Daemon, context: Path) -> None:
    dockerfile = f"FROM {IMAGE} AS made\nRUN mkdir /out && echo made > /out/file && ln -s file /out/link\n"
    dockerfile += "FROM scratch\nCOPY --from=made /out /o\nCOPY --from=0 /out/file /by-number\n"
    dockerfile += f"COPY --from={IMAGE} /etc/passwd /etc/\n"
    where = write(context, dockerfile)
    daemon.docker("build", "-t", "app:1", where)
    daemon.docker("create", "--name", "box", "app:1", "x")
    daemon.docker("cp", "box:/", str(context / "root"))
    root = context / "root"
    assert (root / "o/file").read_text() == (root / "by-number").read_text() == "made\n"
    assert (root / "o/link").is_symlink()
    assert (root / "etc/passwd").read_text().startswith("root:")


def test_nothing_changed_is_taken_from_the_cache_and_a_change_invalidates_all_below(
    daemon: Daemon, context: Path
) -> None:
    where = write(context, f"FROM {IMAGE}\nRUN echo cache-test\nCOPY file /file\nRUN echo after\n", file="one")
    first = daemon.docker("build", "-t", "app:1", where).stdout
    assert "Using cache" not in first
    second = daemon.docker("build", "-t", "app:1", where).stdout
    assert second.count("Using cache") == 3
    assert ids(second)[-1] == ids(first)[-1]
    (context / "file").write_text("two")
    third = daemon.docker("build", "-t", "app:1", where).stdout
    assert third.count("Using cache") == 1
    (context / "file").write_text("one")  # as before, by content: times do not count
    assert daemon.docker("build", "-t", "app:1", where).stdout.count("Using cache") == 3
    fresh = daemon.docker("build", "--no-cache", "-t", "app:1", where).stdout
    assert "Using cache" not in fresh


def test_labels_and_what_is_said_quietly(daemon: Daemon, context: Path) -> None:
    where = write(context, f"FROM {IMAGE}\nLABEL a=file b=file\n")
    made = daemon.out(
        "build",
        "-q",
        "--label",
        "b=option",
        "--label",
        "c",
        "--iidfile",
        str(context / "iid"),
        "-t",
        "one:1",
        "-t",
        "two:2",
        where,
    )
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", made)
    assert (context / "iid").read_text().strip() == made
    assert daemon.inspect("two:2", kind="image")["Config"]["Labels"] == {"a": "file", "b": "option", "c": ""}
    assert daemon.inspect("one:1", kind="image")["Id"] == made


def test_networks_hosts_and_limits_of_run_steps(daemon: Daemon, context: Path) -> None:
    where = write(context, f"FROM {IMAGE}\nRUN ls /sys/class/net; grep fixed /etc/hosts; df -k /dev/shm | tail -1\n")
    ended = daemon.docker(
        "build", "--no-cache", "--network", "none", "--add-host", "fixed:1.2.3.4", "--shm-size", "1m", where
    )
    after = ended.stdout.partition("Running in")[2].splitlines()[1:]
    assert after[0] == "lo"
    assert re.fullmatch(r"1.2.3.4\s+fixed", after[1])
    assert after[2].split()[1] == "1024"


def test_a_failing_step_ends_the_build_with_its_code_and_its_layer_can_be_run(daemon: Daemon, context: Path) -> None:
    where = write(context, f"FROM {IMAGE}\nRUN echo prepared > /prepared\nRUN cat /missing\nRUN never\n")
    ended = daemon.docker("build", "-t", "app:1", where, check=False)
    assert ended.returncode == 1
    assert "The command '/bin/sh -c cat /missing' returned a non-zero code: 1" in ended.stdout + ended.stderr
    assert "Step 4" not in ended.stdout
    layer = ids(ended.stdout)[-1]  # the last step that succeeded
    with daemon.terminal("run", "-it", "--rm", layer) as terminal:
        terminal.read_until("/ # ")
        terminal.type("cat /prepared /missing\n")
        assert "prepared\r\n" in terminal.read_until("No such file or directory")
        terminal.type("exit\n")
        terminal.finish()
    assert "app" not in daemon.out("images")


@pytest.mark.parametrize(
    ("dockerfile", "phrase"),
    [
        ("FROM busybox\nRUNN true\n", "unknown instruction: RUNN"),
        ("", "cannot be empty"),
        ("RUN true\n", "no build stage in current context"),
        ("FROM busybox\nCOPY\n", "COPY requires at least two arguments"),
        ("FROM busybox\nCOPY nosuch /\n", "nosuch"),
        ("FROM busybox\nCOPY ../x /\n", "x"),
        ("FROM busybox\nADD --nosuch=1 a /\n", "nosuch"),
        ("FROM a:b:c\n", "invalid reference format"),
        ("FROM busybox\nENV\n", "ENV requires at least one argument"),
        ("FROM busybox\nEXPOSE 99999999\n", "99999999"),
    ],
)
def test_what_cannot_be_built_is_refused(daemon: Daemon, context: Path, dockerfile: str, phrase: str) -> None:
    assert phrase.lower() in daemon.fails("build", write(context, dockerfile)).lower()
    assert daemon.lines("ps", "-aq") == []


def test_the_processes_of_a_step_get_what_instructions_said(daemon: Daemon, context: Path) -> None:
    dockerfile = (
        f'FROM {IMAGE}\nENV A=one B="two words" C=$A\nWORKDIR /w/deep\nRUN pwd > /out; echo "$A|$B|$C" >> /out\n'
    )
    dockerfile += 'USER nobody\nRUN id -un > /tmp/who\nSHELL ["/bin/sh", "-ec"]\nRUN false || true\n'
    dockerfile += 'RUN ["/bin/sh", "-c", "echo exec > /tmp/exec"]\nVOLUME /vol\nONBUILD RUN touch /tmp/on\n'
    daemon.docker("build", "-t", "app:1", write(context, dockerfile))
    assert daemon.run("app:1", "cat", "/out", "/tmp/who", "/tmp/exec") == "/w/deep\none|two words|\nnobody\nexec"
    daemon.docker("build", "-t", "child:1", "-", stdin="FROM app:1\n")
    assert daemon.run("child:1", "ls", "/tmp").split() == ["exec", "on", "who"]


def test_copy_and_add(daemon: Daemon, context: Path) -> None:
    (context / "dir/sub").mkdir(parents=True)
    (context / "dir/sub/file").write_text("deep")
    (context / "a.txt").write_text("a")
    (context / "b.txt").write_text("b")
    (context / "a.txt").chmod(0o751)
    with tarfile.open(context / "packed.tar.gz", "w:gz") as archive:
        archive.add(context / "a.txt", "unpacked/a")
    dockerfile = f"FROM {IMAGE}\nCOPY --chown=5:6 *.txt /texts/\nCOPY dir /d\nADD packed.tar.gz /p\n"
    dockerfile += "COPY packed.tar.gz /kept.tar.gz\nCOPY a.txt b.txt /two/\nCOPY a.txt /renamed\n"
    dockerfile += "COPY dir/ relative/\nADD a.txt /\n"
    daemon.docker("build", "-t", "app:1", write(context, dockerfile))
    look = "stat -c '%n %a %u:%g' /texts/*; cat /d/sub/file /p/unpacked/a /two/b.txt /renamed /relative/sub/file"
    look += "; test -f /kept.tar.gz && echo kept"
    assert daemon.run("app:1", "sh", "-c", look) == "/texts/a.txt 751 5:6\n/texts/b.txt 644 5:6\ndeepabadeepkept"


def test_a_build_whose_client_goes_away_stops(daemon: Daemon, context: Path) -> None:
    import os
    import signal
    import time

    from tests import engines

    where = write(context, f"FROM {IMAGE}\nRUN echo begun; sleep 987\n")
    process = daemon.start("build", "--no-cache", where, stdin=None)
    assert process.stdout is not None
    for line in process.stdout:
        if b"begun" in line:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    time.sleep(0.1)
    engines.wait_until(lambda: "sleep 987" not in _processes(daemon), "the step to be ended", 20)


def _processes(daemon: Daemon) -> str:
    return daemon.enter("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout.replace("sh -c cat", "")


def test_two_builds_at_once_both_succeed(daemon: Daemon, context: Path) -> None:
    where = write(context, f"FROM {IMAGE}\nRUN sleep 0.3; echo x > /x\nRUN echo y > /y\n")
    processes = [daemon.start("build", "-q", "-t", f"app:{number}", where, stdin=None) for number in range(3)]
    made = {process.communicate(timeout=60)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(made) >= 1
    assert daemon.run("app:2", "cat", "/x", "/y") == "x\ny"
