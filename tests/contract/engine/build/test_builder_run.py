"""RUN with real containers: what a command gets, what it leaves, and its mounts.

The rule that keeps it simple: after every test nothing may be left that only a running build has.
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from declarative.engine.build.running import CommandFailed
from declarative.engine.runtime.sandbox import Resources
from declarative.errors import DeclarativeError, Failed, Invalid, NotFound, Unsupported
from tests.contract.engine.build.builders import Said, Shop
from tests.contract.engine.build.golden import FIXTURE

pytestmark = pytest.mark.usefixtures("nothing_is_left")


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


def test_an_arg_is_known_in_stages_on_its_stage_and_part_of_their_cache_keys(made: Shop) -> None:
    text = (
        "FROM busybox AS a\nARG V=one\nFROM a AS b\nRUN echo v=$V > /v\n"
        "FROM busybox\nCOPY --from=b /v /v\nRUN echo c=$V > /c\n"
    )
    one, _ = made.build(text)
    two, _ = made.build(text, args={"V": "two"})

    assert (made.content(one, "v"), made.content(two, "v")) == (b"v=one\n", b"v=two\n")
    assert made.content(one, "c") == b"c=\n"


def test_a_user_without_an_account_is_at_home_in_the_root(made: Shop) -> None:
    id_, _ = made.build(
        "FROM busybox\nRUN chmod 1777 /tmp\nUSER 1000\nRUN echo ${HOME-unset} > /tmp/h\n"
        "ENV HOME=/x\nRUN echo $HOME > /tmp/i\n"
    )

    assert (made.content(id_, "tmp/h"), made.content(id_, "tmp/i")) == (b"/\n", b"/x\n")


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
