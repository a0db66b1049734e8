"""The port's promises about what is kept and printed: history, logs, changes in file systems, programs that are run."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from declarative.core import actions as do
from declarative.core.resources import FileEntry, Logging, Mount
from declarative.core.secret import Secret
from declarative.core.state import LABEL_OBJECTS, LABEL_STACK, LABEL_SUMMARY, LABEL_UPDATES
from declarative.drivers.holder import describe
from declarative.drivers.port import FileChange, LogLine, Streams
from declarative.errors import DeclarativeError, NotFound
from tests.base_image import BASE_IMAGE
from tests.contract.bench import container
from tests.engines import wait_until

if TYPE_CHECKING:
    from tests.contract.bench import Bench


def test_history_is_read_back_as_it_was_written(bench: Bench) -> None:
    awkward = '{"Container/web-1":"","Tag/app:1":"sha256:1", "x":"' + 'quo\\"te $HOME # \\\\ ' * 5000 + '"}'
    labels = {LABEL_SUMMARY: '1 created, "2" $replaced', LABEL_OBJECTS: awkward}
    labels[LABEL_UPDATES] = '{"web-1":{"spec.restart":"always","spec.environment.A":{"$sealed":["d","s"]}}}'
    files = {"stack.yaml": "a: ü\n", "sub/more.yaml": "b: 1\n"}
    for number in (1, 2, 10):
        action = do.WriteRevision(stack=bench.stack, number=number, files=files, labels=labels)
        bench.do(action)
    bench.do(action)
    assert _nameless(bench) == set()
    assert [revision.number for revision in bench.driver.revisions(bench.stack)] == [1, 2, 10]
    newest = bench.look().revision
    assert newest is not None
    assert newest.number == 10
    assert newest.summary == labels[LABEL_SUMMARY]
    assert newest.objects["Tag/app:1"] == "sha256:1"
    assert len(newest.objects["x"]) > 80_000
    assert newest.updates["web-1"]["spec.restart"] == "always"
    assert repr(newest.updates["web-1"]["spec.environment.A"]) == "***"
    assert newest.applied_at.endswith("Z")
    assert bench.driver.revision_files(bench.stack, 2) == files
    with pytest.raises(NotFound) as caught:
        bench.driver.revision_files(bench.stack, 3)
    assert "1, 2, 10" in str(caught.value)
    assert bench.driver.revisions(bench.stack + "x") == ()


def _nameless(bench: Bench) -> set[str]:
    """Name the stack's images without a name in a real engine."""
    if bench.engine is None:
        return set()
    filters = quote(json.dumps({"dangling": ["true"], "label": [f"{LABEL_STACK}={bench.stack}"]}))
    _, images = bench.engine.api("GET", f"/images/json?filters={filters}")
    return {image["Id"] for image in images}


def test_a_revision_that_is_prepared_is_none_before_it_is_written(bench: Bench) -> None:
    action = do.WriteRevision(
        stack=bench.stack, number=1, files={"stack.yaml": "a: 1\n"}, labels={LABEL_SUMMARY: "all"}
    )
    bench.driver.prepare(action)
    assert len(_nameless(bench)) == (bench.engine is not None)
    assert bench.driver.revisions(bench.stack) == ()
    assert bench.look().revision is None
    bench.do(action)
    assert [(revision.number, revision.summary) for revision in bench.driver.revisions(bench.stack)] == [(1, "all")]
    assert bench.driver.revision_files(bench.stack, 1) == {"stack.yaml": "a: 1\n"}
    assert _nameless(bench) == set()


def test_what_was_prepared_for_nothing_goes(bench: Bench) -> None:
    action = do.WriteRevision(stack=bench.stack, number=1, files={"stack.yaml": "a: 1\n"}, labels={})
    bench.driver.prepare(action)
    bench.driver.give_up(action)
    bench.driver.give_up(action)
    assert _nameless(bench) == set()
    bench.driver.prepare(action)  # and then it is killed
    with bench.driver.lock(bench.stack, timeout=0, holder=describe(user="u", command="c", nonce="another")):
        assert _nameless(bench) == set()
    bench.do(action)  # somebody has cleaned up: it is written whole
    assert [revision.number for revision in bench.driver.revisions(bench.stack)] == [1]


def test_the_last_output_is_there_for_an_error_message(bench: Bench) -> None:
    name = bench.start(container(command=("echo", "hello")))
    wait_until(lambda: bench.see(name).state == "exited", "the end", 10)
    assert bench.driver.last_output(name, 5) == "hello"
    assert bench.driver.last_output(bench.name("none"), 5) == ""


def test_no_output_where_the_engine_keeps_none(real_bench: Bench) -> None:
    name = real_bench.start(container(command=("echo", "hello"), logging=Logging(driver="none")))
    assert real_bench.driver.last_output(name, 5) == ""


def _logs(bench: Bench, *names: str, follow: bool = False, tail: int | None = None, since: str = "") -> list[LogLine]:
    return list(bench.driver.logs(names, follow=follow, tail=tail, since=since, timestamps=False))


def test_logs_are_whole_lines_of_both_streams_merged_by_time(real_bench: Bench) -> None:
    script = "echo a; sleep .2; echo b >&2; sleep .2; printf c; exit 0"
    one = real_bench.start(container(command=("sh", "-c", script)))
    other = real_bench.start(container(command=("sh", "-c", "sleep .1; echo x"), tty=True), of="other")
    wait_until(lambda: {real_bench.see(name).state for name in (one, other)} == {"exited"}, "the end", 10)
    lines = _logs(real_bench, one, other)
    assert sorted((line.container, line.stream, line.text) for line in lines) == sorted(
        [(one, "stdout", b"a"), (one, "stderr", b"b"), (one, "stdout", b"c"), (other, "stdout", b"x")]
    )
    assert [line.text for line in lines if line.container == one] == [b"a", b"b", b"c"]
    assert [line.text for line in _logs(real_bench, one, tail=1)] == [b"c"]
    timed = list(real_bench.driver.logs([one], follow=False, tail=None, since="", timestamps=True))
    assert _logs(real_bench, one, since=timed[1].time) == _logs(real_bench, one)[1:]


def test_followed_logs_end_with_their_containers(real_bench: Bench) -> None:
    names = [
        real_bench.start(container(command=("sh", "-c", f"sleep .{number + 3}; echo {number}")), of=f"c{number}")
        for number in range(3)
    ]
    assert {line.text for line in _logs(real_bench, *names, follow=True)} == {b"0", b"1", b"2"}


def test_changes_of_files_are_found_and_our_own_files_are_none(real_bench: Bench) -> None:
    files = (
        FileEntry(target="/etc/app/plain", content=b"plain"),
        FileEntry(target="/etc/app/secret", content=Secret("hush")),
    )
    spec = container(files=files, volumes=(Mount(target="/data/deep"),), tmpfs={"/run/x": ""})
    name = real_bench.start(spec)
    assert real_bench.driver.changes(name) == ()
    script = "echo 1 > /new; rm /etc/group; echo changed > /etc/passwd; echo 2 > /etc/app/secret; echo 3 > /data/deep/f"
    assert _exec(real_bench, name, script)[0] == 0
    assert real_bench.driver.changes(name) == (
        FileChange(path="/etc/app/secret", kind="added"),
        FileChange(path="/etc/group", kind="deleted"),
        FileChange(path="/etc/passwd", kind="changed"),
        FileChange(path="/new", kind="added"),
    )


def test_what_an_engine_makes_in_a_file_system_is_no_change(real_bench: Bench) -> None:
    name = real_bench.start(container(init=True, working_dir="/srv/deep/", tty=True))
    assert _exec(real_bench, name, "echo 1 > /srv/deep/file")[0] == 0
    assert real_bench.driver.changes(name) == (FileChange(path="/srv/deep/file", kind="added"),)


def test_files_are_put_in_with_mode_and_owner_before_the_start(real_bench: Bench) -> None:
    volume = real_bench.volume()
    files = (
        FileEntry(target="/etc/deep/new/plain", content=b"plain", mode=0o640, uid=7, gid=8),
        FileEntry(target="/etc/secret", content=Secret("h\u00fcsh"), mode=0o400),
        FileEntry(target="/v/in-volume", content=b"v"),
    )
    spec = container(files=files, volumes=(Mount(target="/v", source=volume),), command=("sh", "-c", _SHOW))
    name = real_bench.start(spec)
    wait_until(lambda: real_bench.see(name).state == "exited", "the end", 10)
    assert real_bench.driver.last_output(name, 9).splitlines() == [
        "640 7 8 /etc/deep/new/plain",
        "400 0 0 /etc/secret",
        "444 0 0 /v/in-volume",
        "755 0 0 /etc/deep",
        "plainh\u00fcshv",
    ]


_SHOW = (
    "stat -c '%a %u %g %n' /etc/deep/new/plain /etc/secret /v/in-volume /etc/deep;"
    "cat /etc/deep/new/plain /etc/secret /v/in-volume; echo"
)


def test_files_reach_a_container_whose_root_is_read_only_and_go_with_it(real_bench: Bench) -> None:
    before, data = real_bench.hand.volumes(), real_bench.volume()
    files = (
        FileEntry(target="/etc/plain", content=b"plain", mode=0o640, uid=7, gid=8),
        FileEntry(target="/etc/deep/er/secret", content=Secret("hush"), mode=0o400),
        FileEntry(target="/opt/new/x", content=b"x"),
        FileEntry(target="/data/y", content=b"y"),
    )
    script = (
        "stat -c '%a %u %g %n' /etc/plain /etc/deep/er/secret /opt/new/x /data/y; cat /etc/hosts > /dev/null || echo hosts;"
        "for f in /etc/plain /etc/z /opt/new/z /z; do echo z 2> /dev/null > $f && echo wrote $f; done; echo z > /data/z;"
        "head -c 4 /etc/passwd /etc/deep/er/secret | grep -v '^$'; sleep 1000"
    )
    mounts = (Mount(target="/data", source=data), Mount(target="/an"))
    spec = container(command=("sh", "-c", script), files=files, volumes=mounts, read_only=True)
    name = real_bench.start(spec)
    wait_until(lambda: "hush" in real_bench.driver.last_output(name, 20), "the output", 10)
    assert real_bench.driver.last_output(name, 20).splitlines() == [
        "640 7 8 /etc/plain",
        "400 0 0 /etc/deep/er/secret",
        "444 0 0 /opt/new/x",
        "444 0 0 /data/y",
        "==> /etc/passwd <==",
        "root",
        "==> /etc/deep/er/secret <==",
        "hush",
    ]
    assert {mount.target for mount in real_bench.see(name).spec.volumes} == {"/data", "/an"}
    assert real_bench.driver.changes(name) == ()
    real_bench.create(spec)
    successor = real_bench.start(spec, name=name + ".new", inherit=name)
    assert set(real_bench.hand.anonymous(successor).values()) & set(real_bench.hand.anonymous(name).values())
    real_bench.do(do.RemoveContainer(name=name))
    assert {mount.target for mount in real_bench.see(successor).spec.volumes} == {"/data", "/an"}
    real_bench.do(do.RemoveContainer(name=successor, volumes=True))
    assert real_bench.hand.volumes() - before == {data}


def test_files_in_a_read_only_root_leave_no_volume_that_the_image_asks_for(real_bench: Bench) -> None:
    image = real_bench.build(f"FROM {BASE_IMAGE}\nVOLUME /keep\n")
    before = real_bench.hand.volumes()
    name = real_bench.start(container(files=(FileEntry(target="/etc/x", content=b""),), read_only=True, image=image))
    assert len(real_bench.hand.volumes() - before) == 2  # that of the files, and the image's
    real_bench.do(do.RemoveContainer(name=name, volumes=True))
    assert real_bench.hand.volumes() == before


def test_a_file_that_cannot_be_put_in_is_refused_with_a_way_out_and_leaves_nothing(real_bench: Bench) -> None:
    before = real_bench.hand.volumes()
    at_root = container(files=(FileEntry(target="/x", content=b""),), read_only=True)
    hidden = container(files=(FileEntry(target="/run/x", content=b""),), tmpfs={"/run": ""})
    no_image = container(files=(FileEntry(target="/etc/x", content=b""),), read_only=True, image="none:1")
    for spec in (at_root, hidden, no_image):
        with pytest.raises(DeclarativeError) as caught:
            real_bench.create(spec)
        assert caught.value.remedy or spec is no_image
        assert real_bench.name() in str(caught.value)
    assert real_bench.look().containers == {}
    assert real_bench.hand.volumes() == before


def test_files_that_a_crash_left_are_swept_by_the_next_lock(real_bench: Bench) -> None:
    before = real_bench.hand.volumes()
    spec = container(files=(FileEntry(target="/etc/x", content=b""),), read_only=True)
    name = real_bench.create(spec)
    assert real_bench.engine is not None
    real_bench.engine.docker("rm", "-f", name)  # as if the real container had never been made
    assert len(real_bench.hand.volumes() - before) == 1
    kept = real_bench.create(spec, of="kept")
    with real_bench.driver.lock(real_bench.stack, timeout=0, holder=describe(user="a", command="b", nonce="c")):
        pass
    assert len(real_bench.hand.volumes() - before) == 1
    assert real_bench.see(kept).state == "created"
    real_bench.do(do.RemoveContainer(name=kept))
    assert real_bench.hand.volumes() == before


def _exec(bench: Bench, name: str, script: str, typed: bytes = b"", *, tty: bool = False) -> tuple[int, bytes, bytes]:
    reader, writer = os.pipe()
    out, err = bytearray(), bytearray()
    try:
        os.write(writer, typed)
        os.close(writer)
        streams = Streams(stdin=reader, stdout=out.extend, stderr=err.extend, tty=tty, size=lambda: (31, 97))
        code = bench.driver.exec(name, ["sh", "-c", script], streams, environment={"X": "y"}, workdir="/tmp")  # noqa: S108
    finally:
        os.close(reader)
    return code, bytes(out), bytes(err)


def test_a_command_runs_in_a_container_with_streams_and_exit_code(real_bench: Bench) -> None:
    name = real_bench.start()
    script = "sort; sleep .2; echo $X $PWD; echo bad >&2; exit 7"
    assert _exec(real_bench, name, script, b"b\na\n") == (7, b"a\nb\ny /tmp\n", b"bad\n")
    code, out, _ = _exec(real_bench, name, "sleep .5; stty size", tty=True)
    assert (code, out.split()[-2:]) == (0, [b"31", b"97"]), out
    megabytes = _exec(real_bench, name, "head -c 5000000 /dev/zero")[1]
    assert len(megabytes) == 5_000_000


def test_a_command_in_what_does_not_run_is_an_error_that_names_it(real_bench: Bench) -> None:
    name = real_bench.create()
    with pytest.raises(DeclarativeError) as caught:
        _exec(real_bench, name, "true")
    assert name in str(caught.value)
    with pytest.raises(NotFound):
        _exec(real_bench, real_bench.name("none"), "true")


def test_a_shell_in_an_image_is_gone_afterwards(real_bench: Bench) -> None:
    assert real_bench.engine is not None
    before = real_bench.engine.contents()
    out = bytearray()
    streams = Streams(stdin=None, stdout=out.extend, stderr=out.extend)
    assert real_bench.driver.run(BASE_IMAGE, ["sh", "-c", "echo here; exit 5"], streams) == 5
    assert out == b"here\n"
    assert real_bench.engine.contents() - before == []


def test_logs_that_nobody_reads_on_are_let_go(real_bench: Bench) -> None:
    name = real_bench.start(container(command=("sh", "-c", "while echo x; do sleep .05; done")))
    lines = real_bench.driver.logs([name], follow=True, tail=None, since="", timestamps=False)
    assert next(iter(lines)).text == b"x"
    closing = threading.Thread(target=lines.close)  # type: ignore[attr-defined]  # a generator, as drivers make it
    begun = time.monotonic()
    closing.start()
    closing.join(10)
    assert time.monotonic() - begun < 5
    assert real_bench.see(name).state == "running"
