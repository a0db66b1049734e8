"""The builder with its real parts: the cache, RUN and its mounts, stages, what is left after a failure."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from backports import zstd

from declarative.engine.build.builder import Builder
from declarative.engine.build.request import BuildRequest
from declarative.engine.build.running import CommandFailed
from declarative.engine.runtime.rootfs import mounts_below
from declarative.engine.runtime.sandbox import Resources
from declarative.errors import DeclarativeError, Failed, Interrupted, Invalid, NotFound, Unsupported
from declarative.oci.platform import Platform
from declarative.oci.reference import Reference
from tests.contract.engine.builders import Said, Shop, archive, shop
from tests.contract.engine.test_golden_builds import FIXTURE, base_layer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def made() -> Iterator[Shop]:
    with shop() as opened:
        opened.add_image("busybox:latest", base_layer("busybox"), FIXTURE["busybox"]["config"])
        yield opened


@pytest.fixture(autouse=True)
def nothing_is_left(made: Shop) -> Iterator[None]:
    """After each test: no mounts, no folders of builds, no namespaces, no processes, no control groups."""
    yield
    paths = made.parts.settings.paths
    assert mounts_below(paths.root) == ()
    assert list((paths.build / "work").iterdir()) == []
    assert list(paths.namespaces.iterdir()) == []
    assert list(paths.bundles.iterdir()) == []
    assert list((paths.run / "secrets").iterdir()) == [] if (paths.run / "secrets").exists() else True
    assert [group for group in Path("/sys/fs/cgroup").glob(f"*/{made.root.name}/*") if group.is_dir()] == []


def steps(said: Said) -> list[tuple[str, bool]]:
    """Give the text of each step, and whether it came from the cache."""
    found = re.split(r"Step \d+/\d+ : ", said.text)[1:]
    return [(part.split("\n")[0], "---> Using cache" in part) for part in found]


def cached(said: Said) -> list[bool]:
    return [hit for text, hit in steps(said) if not text.startswith("FROM")]


# ---- the cache


def test_the_same_build_again_comes_from_the_cache(made: Shop) -> None:
    text = "FROM busybox\nENV a=1\nCOPY f /\nRUN date +%N > /now\nWORKDIR /w\nLABEL x=y\n"
    first, said = made.build(text, {"f": "1"})
    second, again = made.build(text, {"f": "1"})

    assert cached(said) == [False] * 5
    assert cached(again) == [True] * 5
    assert first == second
    assert again.text.endswith(f" ---> {first.short}\nSuccessfully built {first.short}\n")


def test_a_change_makes_all_above_it_anew(made: Shop) -> None:
    text = "FROM busybox\nRUN echo one\nCOPY g /\nRUN echo two\nENV z=1\n"
    made.build(text, {"g": "1"})
    _, said = made.build(text, {"g": "2"})
    _, again = made.build(text.replace("one", "uno"), {"g": "2"})

    assert cached(said) == [True, False, False, False]
    assert cached(again) == [False, False, False, False]


def test_times_of_files_do_not_count_and_modes_do(made: Shop, tmp_path: Path) -> None:
    text = "FROM scratch\nCOPY h /\n"
    (tmp_path / "Dockerfile").write_text(text)
    (tmp_path / "h").write_text("x")

    def packed() -> bytes:
        return subprocess.run(["tar", "-C", tmp_path, "-cf", "-", "."], check=True, capture_output=True).stdout

    ids = []
    for mode, when in ((0o644, 1), (0o644, 2), (0o600, 2)):
        (tmp_path / "h").chmod(mode)
        os.utime(tmp_path / "h", (when, when))
        ids.append(made.builder.build(BuildRequest(), [packed()], lambda _: None))

    assert ids[0] == ids[1] != ids[2]


def test_an_arg_that_a_run_may_see_counts(made: Shop) -> None:
    text = "FROM busybox\nARG V=1\nRUN echo $V > /v\n"
    first, _ = made.build(text, args={"V": "a"})
    _, same = made.build(text, args={"V": "a"})
    second, other = made.build(text, args={"V": "b"})

    assert cached(same) == [True, True]
    assert cached(other) == [False, False]
    assert (made.content(first, "v"), made.content(second, "v")) == (b"a\n", b"b\n")


def test_a_proxy_does_not_count(made: Shop) -> None:
    text = "FROM busybox\nRUN echo $http_proxy > /p\n"
    first, _ = made.build(text, args={"http_proxy": "one"})
    second, said = made.build(text, args={"http_proxy": "two"})

    assert made.content(first, "p") == b"one\n"
    assert cached(said) == [True]
    assert first == second
    assert "proxy" not in made.images.get(first).raw.decode().replace("echo $http_proxy", "")


def test_labels_that_read_alike_are_not_the_same(made: Shop) -> None:
    first, _ = made.build('FROM busybox\nLABEL a="b c=d"\n')
    second, _ = made.build("FROM busybox\nLABEL a=b c=d\n")

    assert made.config(first)["config"]["Labels"] == {"a": "b c=d"}
    assert made.config(second)["config"]["Labels"] == {"a": "b", "c": "d"}


def test_no_cache_makes_everything_anew_and_is_cached_itself(made: Shop) -> None:
    text = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /u\n"
    first, _ = made.build(text)
    second, said = made.build(text, no_cache=True)
    third, again = made.build(text)

    assert cached(said) == [False]
    assert cached(again) == [True]
    assert first != second == third


def test_a_cached_image_that_was_removed_is_made_again(made: Shop) -> None:
    text = "FROM busybox\nRUN echo removed > /r\n"
    made.build(text)
    made.builder.leftovers.prune(everything=True)
    id_, said = made.build(text)

    assert cached(said) == [False]
    assert made.content(id_, "r") == b"removed\n"


def test_each_step_is_an_image_on_the_one_before(made: Shop) -> None:
    id_, said = made.build("FROM busybox\nENV q=1\nRUN echo debug > /me\nENV q=2\n")
    shown = re.findall(r" ---> ([0-9a-f]{12})\n", said.text)
    parent = made.images.parent(id_)

    assert parent is not None
    assert shown[-1] == id_.short
    assert shown[-2] == parent.short
    assert made.images.resolve(shown[-2]).id == parent
    assert made.content(parent, "me") == b"debug\n"


def test_files_of_another_image_are_hashed_once(made: Shop) -> None:
    text = "FROM busybox AS a\nRUN echo once > /once\nFROM scratch\nCOPY --from=a /once /\n"
    first, _ = made.build(text)
    second, said = made.build(text)

    assert first == second
    assert cached(said) == [True, True]


def test_cache_from_takes_the_steps_of_an_image_made_elsewhere(made: Shop) -> None:
    text = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /u\nENV a=b\nCOPY k /\n"
    elsewhere, _ = made.build(text, {"k": "1"}, no_cache=True)
    made.images.tag(elsewhere, Reference.parse("elsewhere:1"))
    made.parts.cache.forget([step.image for step in made.parts.cache.all()])
    id_, said = made.build(text, {"k": "1"}, cache_from=("elsewhere:1", "missing:1"))
    _, changed = made.build(text, {"k": "2"}, cache_from=("elsewhere:1",))

    assert cached(said) == [True, True, True]
    assert made.content(id_, "u") == made.content(elsewhere, "u")
    assert cached(changed) == [True, True, False]


# ---- stages


def test_a_stage_that_nobody_needs_is_not_built(made: Shop) -> None:
    _, said = made.build("FROM busybox AS a\nRUN exit 1\nFROM busybox AS b\nRUN true\nFROM b\n")

    assert [text for text, _ in steps(said)] == ["FROM busybox AS b", "RUN true", "FROM b"]


def test_stages_run_at_the_same_time_and_speak_one_after_the_other(made: Shop) -> None:
    wait = "while [ ! -e /c/{0} ]; do sleep 0.05; done"
    text = (
        "FROM busybox AS a\n"
        f"RUN --mount=type=cache,id=meet,target=/c touch /c/a; {wait.format('b')}; echo A; touch /A\n"
        "FROM busybox AS b\n"
        f"RUN --mount=type=cache,id=meet,target=/c touch /c/b; {wait.format('a')}; echo B; touch /B\n"
        "FROM scratch\nCOPY --from=a /A /\nCOPY --from=b /B /\n"
    )
    id_, said = made.build(text)
    order = re.findall(r"Step (\d)/|^([AB])$", said.text, re.MULTILINE)

    assert [step or line for step, line in order] == ["1", "2", "A", "3", "4", "B", "5", "6", "7"]
    assert {"A", "B"} <= made.files(id_).keys()


def test_a_failure_stops_the_other_stages(made: Shop) -> None:
    said = Said()
    with pytest.raises(CommandFailed, match="returned a non-zero code: 4"):
        made.build(
            "FROM busybox AS a\nRUN sleep 1000\nFROM busybox AS b\nRUN echo no; exit 4\n"
            "FROM scratch\nCOPY --from=a / /\nCOPY --from=b / /\n",
            said=said,
        )

    assert said.text.endswith("no\n")


def test_triggers_run_after_from_and_are_told(made: Shop) -> None:
    base, _ = made.build("FROM busybox\nONBUILD RUN echo trigger > /t\nONBUILD COPY f /\n")
    made.images.tag(base, Reference.parse("trigger:1"))
    id_, said = made.build("FROM trigger:1\nENV a=b\n", {"f": "x"})

    assert "# Executing 2 build triggers\n" in said.text
    assert (made.content(id_, "t"), made.content(id_, "f")) == (b"trigger\n", b"x")
    assert "OnBuild" not in made.config(id_)["config"]


def test_a_trigger_may_take_from_a_stage_that_only_it_needs(made: Shop) -> None:
    base, _ = made.build("FROM busybox\nONBUILD COPY --from=extra /x /\n")
    made.images.tag(base, Reference.parse("needs:1"))
    id_, _ = made.build("FROM busybox AS extra\nRUN echo extra > /x\nFROM needs:1\n")

    assert made.content(id_, "x") == b"extra\n"


# ---- RUN


def test_a_command_leaves_what_it_did_and_nothing_of_ours(made: Shop) -> None:
    id_, _ = made.build("FROM scratch\nCOPY --from=busybox /bin/busybox /bin/sh\nRUN echo x > /made\n")

    assert set(made.files(id_)) == {"bin", "bin/sh", "made"}


def test_a_command_that_changes_nothing_makes_no_layer(made: Shop) -> None:
    id_, _ = made.build("FROM busybox\nRUN true\n")

    assert len(made.images.get(id_).layers) == 1
    assert made.config(id_)["history"][-1]["empty_layer"] is True


def test_output_and_errors_are_told_as_they_come(made: Shop) -> None:
    _, said = made.build("FROM busybox\nRUN echo out; echo err >&2; printf 'no end'\n", no_cache=True)

    assert "out\n" in said.text
    assert "\x1b[91merr\n\x1b[0m" in said.text
    assert "no end" in said.text


@pytest.mark.parametrize(
    ("command", "message", "code"),
    [
        ("RUN exit 7", "The command '/bin/sh -c exit 7' returned a non-zero code: 7", 7),
        ('RUN ["sh","-c","exit 3"]', "The command 'sh -c exit 3' returned a non-zero code: 3", 3),
        (
            "RUN sleep 9 & kill -9 $!; wait $!",
            "The command '/bin/sh -c sleep 9 & kill -9 $!; wait $!' returned a non-zero code: 137",
            137,
        ),
    ],
)
def test_a_command_that_fails_fails_the_build(made: Shop, command: str, message: str, code: int) -> None:
    said = Said()
    with pytest.raises(CommandFailed) as caught:
        made.build(f"FROM busybox\n{command}\nRUN never\n", said=said)

    assert (str(caught.value), caught.value.code) == (message, code)
    assert "Removing intermediate container" not in said.text
    assert "never" not in said.text


def test_a_program_that_is_not_there_is_named(made: Shop) -> None:
    with pytest.raises(DeclarativeError, match="/nope"):
        made.build('FROM busybox\nRUN ["/nope"]\n')


def test_user_directory_and_variables_hold_for_a_command(made: Shop) -> None:
    id_, _ = made.build(
        "FROM busybox\nENV E=env\nARG A=arg\nWORKDIR /w\nRUN chown 1:1 /w\nUSER daemon\n"
        "RUN echo $(id -u):$(id -g) $PWD $E $A $HOME > /w/who\n"
    )

    assert made.content(id_, "w/who") == b"1:1 /w env arg /usr/sbin\n"


def test_a_user_that_is_not_there_is_named(made: Shop) -> None:
    with pytest.raises(Invalid, match="unable to find user nobodyelse"):
        made.build("FROM busybox\nUSER nobodyelse\nRUN true\n")


def test_hosts_of_the_client_are_known(made: Shop) -> None:
    id_, _ = made.build(
        "FROM busybox\nRUN grep -w far /etc/hosts > /h\n", extra_hosts=("far:192.0.2.7",), no_cache=True
    )

    assert made.content(id_, "h").split() == [b"192.0.2.7", b"far"]
    assert "etc/hosts" not in made.files(id_)


def test_the_network_of_commands(made: Shop) -> None:
    text = "FROM busybox\nRUN {}ip -o -4 addr show scope global | wc -l > /n\n"
    default, _ = made.build(text.format(""), no_cache=True)
    off, _ = made.build(text.format("--network=none "), no_cache=True)
    all_off, _ = made.build(text.format(""), network="none", no_cache=True)

    assert made.content(default, "n") == b"1\n"
    assert made.content(off, "n") == made.content(all_off, "n") == b"0\n"


def test_the_hosts_network_is_for_builds_that_are_given_it(made: Shop) -> None:
    text = "FROM busybox\nRUN --network=host readlink /proc/self/ns/net > /n\n"
    with pytest.raises(Invalid, match="RUN --network=host is not allowed here"):
        made.build(text)
    id_, _ = made.build(text, network="host", no_cache=True)

    assert made.content(id_, "n").decode().strip() == str(Path("/proc/self/ns/net").readlink())


def test_an_unknown_network_is_named(made: Shop) -> None:
    with pytest.raises(NotFound, match="nonet"):
        made.build("FROM busybox\nRUN true\n", network="nonet", no_cache=True)


def test_limits_hold_for_commands(made: Shop) -> None:
    id_, _ = made.build(
        "FROM busybox\nRUN cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes 2>/dev/null > /m || cat memory.max > /m\n"
        "RUN df -k /dev/shm | tail -1 > /s\n",
        resources=Resources(memory=64 << 20),
        shm_size=1 << 20,
        no_cache=True,
    )

    assert made.content(id_, "m") == b"67108864\n"
    assert made.content(id_, "s").split()[1] == b"1024"


def test_insecure_commands_are_refused(made: Shop) -> None:
    with pytest.raises(Unsupported, match="insecure"):
        made.build("FROM busybox\nRUN --security=insecure true\n")


# ---- RUN --mount


def test_a_cache_stays_and_is_not_in_the_image(made: Shop) -> None:
    text = "FROM busybox\nRUN --mount=type=cache,target=/c/d,id=stays echo {0} >> /c/d/log; cp /c/d/log /log\n"
    made.build(text.format(1))
    id_, _ = made.build(text.format(2))

    assert made.content(id_, "log") == b"1\n2\n"
    assert not any(path == "c" or path.startswith("c/") for path in made.files(id_))


def test_caches_are_told_apart_by_id_and_owner(made: Shop) -> None:
    mount = "--mount=type=cache,target=/c"
    id_, _ = made.build(
        f"FROM busybox\nRUN {mount},id=k1 touch /c/x\nRUN {mount},id=k2 ls /c > /two\n"
        f"RUN {mount},id=k1,uid=5 ls /c > /five\nRUN {mount},id=k1 ls /c > /one\n"
    )

    assert [made.content(id_, name) for name in ("one", "two", "five")] == [b"x\n", b"", b""]


def test_a_locked_cache_is_one_commands_at_a_time_and_a_private_one_is_anothers(made: Shop) -> None:
    def text(sharing: str, name: str) -> str:
        mount = f"--mount=type=cache,target=/c,id={sharing},sharing={sharing}"
        return f"FROM busybox\nRUN {mount} ls /c | wc -l > /n; touch /c/{name}; sleep 1; ls /c | wc -l >> /n; rm /c/{name}\n"

    found: dict[str, list[bytes]] = {"locked": [], "private": []}

    def build(sharing: str, name: str) -> None:
        id_, _ = made.build(text(sharing, name))
        found[sharing].append(made.content(id_, "n"))

    for sharing in found:
        threads = [threading.Thread(target=build, args=(sharing, name)) for name in ("a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert found == {"locked": [b"0\n1\n"] * 2, "private": [b"0\n1\n"] * 2}


def test_a_bind_shows_the_context_and_keeps_nothing_that_is_written(made: Shop) -> None:
    files = {"d/f": "1", "g": "2"}
    id_, _ = made.build(
        "FROM busybox\nRUN --mount=target=/in cat /in/d/f /in/g > /a; touch /in/x 2>/dev/null || echo ro >> /a\n"
        "RUN --mount=type=bind,source=d,target=/in,rw touch /in/x; ls /in > /b\n"
        "RUN --mount=type=bind,source=d,target=/in ls /in > /c\n"
        "RUN --mount=type=bind,source=g,target=/etc/one cat /etc/one > /d\n",
        files,
    )

    assert [made.content(id_, name) for name in "abcd"] == [b"12ro\n", b"f\nx\n", b"f\n", b"2"]
    assert {path for path in made.files(id_) if path.startswith(("in", "etc/one"))} == set()


def test_the_bound_context_counts_for_the_cache(made: Shop) -> None:
    text = "FROM busybox\nRUN --mount=target=/in cat /in/f > /f\n"
    first, _ = made.build(text, {"f": "1"})
    second, _ = made.build(text, {"f": "2"})

    assert (made.content(first, "f"), made.content(second, "f")) == (b"1", b"2")


def test_a_bind_from_a_stage_and_from_an_image(made: Shop) -> None:
    id_, _ = made.build(
        "FROM busybox AS s\nRUN mkdir /d; echo s > /d/f\nFROM busybox\n"
        "RUN --mount=type=bind,from=s,source=/d,target=/m cat /m/f > /a\n"
        "RUN --mount=type=bind,from=busybox,target=/m ls /m/bin/busybox > /b\n"
    )

    assert (made.content(id_, "a"), made.content(id_, "b")) == (b"s\n", b"/m/bin/busybox\n")


@pytest.mark.parametrize("source", ["nope", "../x", "out/passwd"])
def test_a_bind_never_leaves_its_tree(made: Shop, source: str) -> None:
    mount = f"--mount=type=bind,from=s,source={source},target=/m"
    text = f"FROM busybox AS s\nRUN ln -s /../../../etc /out\nFROM busybox\nRUN {mount} cat /m > /a\n"
    if source == "out/passwd":
        id_, _ = made.build(text)
        assert made.content(id_, "a") == FIXTURE["busybox"]["files"]["etc/passwd"].encode()
    else:
        with pytest.raises(Failed, match="failed to find"):
            made.build(text)


def test_a_tmpfs_is_empty_and_gone(made: Shop) -> None:
    id_, _ = made.build(
        "FROM busybox\nRUN --mount=type=tmpfs,target=/var,size=1m touch /var/x; df -k /var | tail -1 > /s\n"
    )

    assert made.content(id_, "s").split()[1] == b"1024"
    assert "var/x" not in made.files(id_)


def test_a_secret_is_there_for_its_command_and_nowhere_else(made: Shop) -> None:
    secret = b"never-to-be-seen"
    text = (
        "FROM busybox\n"
        "RUN --mount=type=secret,id=s stat -c '%a %u' /run/secrets/s > /mode; wc -c < /run/secrets/s > /size\n"
        "RUN --mount=type=secret,id=s,target=/etc/key,uid=3,mode=0440 stat -c '%a %u' /etc/key > /mode2\n"
        "RUN --mount=type=secret,id=s,env=KEY echo ${#KEY} > /env; test ! -e /run/secrets/s\n"
        "RUN --mount=type=secret,id=other test ! -e /run/secrets/other\n"
        "RUN test ! -e /run/secrets/s\n"
    )
    id_, said = made.build(text, secrets={"s": secret})

    assert made.content(id_, "mode") == b"400 0\n"
    assert made.content(id_, "size") == made.content(id_, "env") == b"16\n"
    assert made.content(id_, "mode2") == b"440 3\n"
    assert secret not in said.text.encode() + b"".join(made.layers(id_)) + made.images.get(id_).raw
    assert not any(path.startswith(("run/secrets", "etc/key")) for path in made.files(id_))


def test_a_secret_that_is_required_and_missing_fails_the_build(made: Shop) -> None:
    with pytest.raises(Failed, match="secret s: not found"):
        made.build("FROM busybox\nRUN --mount=type=secret,id=s,required=true true\n")


def test_there_is_no_ssh_agent_and_it_is_said(made: Shop) -> None:
    _, said = made.build("FROM busybox\nRUN --mount=type=ssh true\n", no_cache=True)
    assert "[Warning] RUN --mount=type=ssh: no SSH agent can be forwarded" in said.text

    with pytest.raises(Unsupported, match="SSH agent"):
        made.build("FROM busybox\nRUN --mount=type=ssh,required true\n")


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ("typ=tmpfs,target=/x", "unexpected key 'typ'.*did you mean `type`"),
        ("type=tmpsf,target=/x", "unsupported mount type 'tmpsf'.*did you mean `tmpfs`"),
        ("type=cache", "target is required"),
        ("type=cache,target=/", "invalid mount target"),
        ("type=cache,target=/x,sharing=lockd", "unsupported sharing value 'lockd'.*did you mean `locked`"),
        ("type=cache,target=/x,uid=me", "invalid value me for uid"),
        ("type=cache,target=/x,mode=9", "invalid value 9 for mode"),
        ("type=bind,target=/x,from=$S", "variable expansion is not supported"),
    ],
)
def test_a_mount_that_makes_no_sense_is_refused(made: Shop, mount: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        made.build(f"FROM busybox\nRUN --mount={mount} true\n")


# ---- COPY and ADD


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress, bz2.compress, lzma.compress, zstd.compress])
def test_add_unpacks_every_compression(made: Shop, pack: object) -> None:
    assert callable(pack)
    id_, _ = made.build("FROM scratch\nADD rootfs.tar.any /\n", {"rootfs.tar.any": pack(archive({"etc/x": "1"}))})

    assert set(made.files(id_)) == {"etc", "etc/x"}


def test_link_looks_at_nothing_below(made: Shop) -> None:
    id_, _ = made.build("FROM busybox\nRUN mkdir -m 700 /l && ln -s l /m\nCOPY --link f /m/\nCOPY f /l/\n", {"f": "x"})
    files = made.files(id_)

    assert (files["m"].isdir(), files["l"].mode, "m/f" in files, "l/f" in files) == (True, 0o700, True, True)


def test_copy_fails_in_the_words_of_the_classic_builder(made: Shop) -> None:
    with pytest.raises(Failed) as caught:
        made.build("FROM scratch\nCOPY nope /\n")
    assert str(caught.value) == (
        "COPY failed: file not found in build context or excluded by .dockerignore: stat nope: file does not exist"
    )
    with pytest.raises(Failed, match=r"^COPY failed: stat nope: file does not exist$"):
        made.build("FROM scratch\nCOPY --from=busybox /nope /\n")


# ---- the request


def test_a_dockerfile_is_refused_with_its_line_and_a_suggestion(made: Shop) -> None:
    for text, words in (
        ("FROM busybox\nRNU x\n", "dockerfile parse error line 2: unknown instruction: RNU — did you mean `RUN`?"),
        (
            "FROM busybox\nCOPY --chwon=1 a /\n",
            "dockerfile parse error line 2: unknown flag: --chwon — did you mean `chown`?",
        ),
    ):
        said = Said()
        with pytest.raises(Invalid) as caught:
            made.build(text, said=said)

        assert str(caught.value) == words
        assert said.messages == []


def test_a_dockerfile_that_is_not_there_is_named(made: Shop) -> None:
    with pytest.raises(Invalid, match="Cannot locate specified Dockerfile: Other"):
        made.build("FROM busybox\n", named="Other")


def test_a_dockerfile_elsewhere_in_the_context(made: Shop) -> None:
    id_, _ = made.build("FROM nothing\n", {"d/Other": "FROM busybox\nLABEL which=other\n"}, named="d/Other")

    assert made.config(id_)["config"]["Labels"] == {"which": "other"}


def test_a_build_of_nothing_makes_no_image(made: Shop) -> None:
    with pytest.raises(Failed, match=r"No image was generated\. Is your Dockerfile empty"):
        made.build("FROM scratch\n")


def test_tags_are_given_and_told(made: Shop) -> None:
    id_, said = made.build("FROM busybox\nLABEL t=1\n", tags=(Reference.parse("t/one"), Reference.parse("t/one:2")))

    assert said.text.endswith("Successfully tagged t/one:latest\nSuccessfully tagged t/one:2\n")
    assert made.images.resolve("t/one:2").id == id_


def test_build_arguments_that_nobody_asks_for_are_told(made: Shop) -> None:
    _, said = made.build("FROM busybox\nARG A\n", args={"A": "1", "B": "2"})

    assert "[Warning] One or more build-args [B] were not consumed\n" in said.text


def test_an_image_for_another_platform_is_not_the_one_here(made: Shop) -> None:
    with pytest.raises(DeclarativeError):  # it is not here, so it is pulled, and there is nothing to pull from
        made.build("FROM --platform=linux/arm64 busybox\nENV a=b\n")

    id_, _ = made.build("FROM scratch\nENV a=b\n", platform=Platform.parse("linux/arm64"))
    assert made.config(id_)["architecture"] == "arm64"


def test_a_platform_that_is_none_is_refused(made: Shop) -> None:
    with pytest.raises(Invalid, match="failed to parse platform nonsense"):
        made.build("FROM --platform=nonsense busybox\n")


# ---- faults


def test_a_client_that_goes_stops_the_build_and_its_command(made: Shop) -> None:
    gone = threading.Event()
    said = Said()
    errors: list[BaseException] = []

    def build() -> None:
        try:
            made.build("FROM busybox\nRUN echo begun; sleep 1234567\n", gone=gone.is_set, said=said)
        except Interrupted as error:
            errors.append(error)

    thread = threading.Thread(target=build)
    thread.start()
    while "begun\n" not in said.text:
        time.sleep(0.02)
    assert subprocess.run(["pgrep", "-f", "sleep 1234567"], check=False, capture_output=True).returncode == 0

    gone.set()
    thread.join(30)

    assert not thread.is_alive()
    assert len(errors) == 1
    assert subprocess.run(["pgrep", "-f", "sleep 1234567"], check=False, capture_output=True).returncode == 1


def test_equal_builds_at_once_all_succeed(made: Shop) -> None:
    text = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /u; sleep 0.5\nCOPY f /\n"
    ids = []
    threads = [threading.Thread(target=lambda: ids.append(made.build(text, {"f": "x"})[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(ids) == 4
    assert all(made.content(id_, "f") == b"x" for id_ in ids)


def test_what_a_crash_left_goes_at_the_next_start(made: Shop) -> None:
    work = made.parts.settings.paths.build / "work" / "dead"
    for name in ("lower", "upper", "work", "root"):
        (work / name).mkdir(parents=True)
    options = f"lowerdir={work}/lower,upperdir={work}/upper,workdir={work}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(work / "root")], check=True)

    Builder(made.parts)

    assert not work.exists()


@pytest.mark.parametrize("name", ["../escape", "/etc/../../escape"])
def test_a_hostile_context_is_refused(made: Shop, name: str) -> None:
    said = Said()
    with pytest.raises(Invalid, match="leads out of the context"):
        made.build("FROM busybox\n", {name: "x"}, said=said)

    assert said.messages == []


def test_a_hostile_link_in_an_image_leads_nowhere(made: Shop, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    id_, _ = made.build(
        f"FROM busybox\nRUN ln -s /../../../../..{outside} /out && ln -s {outside} /abs\n"
        "COPY f /out/\nCOPY f /abs/g\nWORKDIR /out/w\nADD a.tar /out/\n",
        {"f": "x", "a.tar": archive({"in": "y"})},
    )

    assert list(outside.iterdir()) == []
    assert {f"{str(outside)[1:]}/{name}" for name in ("f", "g", "w", "in")} <= made.files(id_).keys()


# ---- what is left


def test_prune_takes_what_is_in_nobodys_use(made: Shop) -> None:
    made.builder.leftovers.prune(everything=True)
    kept, _ = made.build("FROM busybox\nRUN echo kept > /k\nLABEL k=1\n", tags=(Reference.parse("kept:1"),))
    gone, _ = made.build("FROM busybox\nRUN echo gone > /g\nLABEL g=1\n")
    pruned = made.builder.leftovers.prune(everything=False)

    assert gone.hex in pruned.ids
    assert len(pruned.ids) == 2
    assert pruned.size == 5
    assert made.content(kept, "k") == b"kept\n"
    _, said = made.build("FROM busybox\nRUN echo kept > /k\nLABEL k=1\n")
    assert cached(said) == [True, True]


def test_prune_with_everything_takes_caches_too_but_none_in_use(made: Shop) -> None:
    text = "FROM busybox\nRUN --mount=type=cache,target=/c,id=p echo x > /c/x{}\n"
    made.build(text.format(""))
    made.builder.leftovers.prune(everything=False)
    assert [left.kind for left in made.builder.leftovers.list() if left.kind != "regular"] == ["exec.cachemount"]

    said = Said()
    thread = threading.Thread(target=lambda: made.build(text.format("; echo on; sleep 2"), said=said))
    thread.start()
    while "on\n" not in said.text:
        time.sleep(0.02)
    made.builder.leftovers.prune(everything=True)
    assert [left.kind for left in made.builder.leftovers.list() if left.kind != "regular"] == ["exec.cachemount"]
    thread.join()
    made.builder.leftovers.prune(everything=True)

    assert [left for left in made.builder.leftovers.list() if left.kind != "regular"] == []


def test_prune_keeps_what_was_of_use_lately_and_as_many_bytes_as_wanted(made: Shop) -> None:
    made.builder.leftovers.prune(everything=True)
    before = time.time_ns()
    for number in range(3):
        made.build(f"FROM busybox\nRUN head -c 1000 /dev/zero > /z{number}\n")

    assert made.builder.leftovers.prune(everything=True, before=before).ids == ()
    assert len(made.builder.leftovers.prune(everything=False, keep=2000).ids) == 1
