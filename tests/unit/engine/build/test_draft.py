"""What each instruction does to a configuration, and what history says of it."""

from __future__ import annotations

import pytest

from declarative.engine.build import commands as c
from declarative.engine.build.changes import apply_changes
from declarative.engine.build.draft import DEFAULT_PATH, Draft, Edit, command_run, edit, nothing_run, start
from declarative.engine.build.instructions import read
from declarative.engine.build.scope import Scope
from declarative.errors import Invalid
from declarative.oci.config import HealthCheck, RunDefaults
from declarative.oci.dockerfile.lexer import lex


def done(text: str, run: RunDefaults | None = None) -> tuple[RunDefaults, list[str]]:
    """Do the instructions of a text; give the configuration, and what each said."""
    draft, scope, said = Draft(run=run or RunDefaults()), Scope().stage((run or RunDefaults()).env), []
    for step in map(read, lex(text.encode()).instructions):
        assert not isinstance(step, c.From)
        changed: Edit = edit(draft, scope, step)
        draft, scope = changed.draft, changed.scope
        said.append(changed.says)
    return draft.run, said


def test_a_base_without_a_path_gets_one_and_its_triggers_go() -> None:
    draft = start(RunDefaults(env=("A=b",), on_build=("RUN x",)))

    assert draft.run.env == ("A=b", DEFAULT_PATH)
    assert draft.run.on_build == ()


def test_a_base_with_a_path_keeps_it() -> None:
    assert start(RunDefaults(env=("PATH=/x",))).run.env == ("PATH=/x",)


def test_variables_of_one_env_do_not_see_each_other() -> None:
    run, said = done("ENV a=1\nENV a=2 b=$a\nENV c $a d\n")

    assert run.env == ("a=2", "b=1", "c=2 d")
    assert said == ["ENV a=1", "ENV a=2 b=1", "ENV c=2 d"]


def test_an_entrypoint_takes_the_command_of_the_base_away_but_not_that_of_its_stage() -> None:
    base = RunDefaults(cmd=("sh",))

    assert done('ENTRYPOINT ["/e"]\n', base)[0].cmd is None
    assert done('CMD ["c"]\nENTRYPOINT ["/e"]\n', base)[0].cmd == ("c",)


@pytest.mark.parametrize(
    ("text", "field", "value", "says"),
    [
        ('CMD ["a","b c"]\n', "cmd", ("a", "b c"), 'CMD ["a" "b c"]'),
        ("CMD echo hi\n", "cmd", ("/bin/sh", "-c", "echo hi"), 'CMD ["/bin/sh" "-c" "echo hi"]'),
        ("CMD []\n", "cmd", (), "CMD []"),
        ("ENTRYPOINT e x\n", "entrypoint", ("/bin/sh", "-c", "e x"), 'ENTRYPOINT ["/bin/sh" "-c" "e x"]'),
        ("EXPOSE 80 53/UDP 7000-7001\n", "exposed_ports", ("53/udp", "7000/tcp", "7001/tcp", "80/tcp"), None),
        ('VOLUME ["/a","/b"]\n', "volumes", ("/a", "/b"), "VOLUME [/a /b]"),
        ("USER u:g\n", "user", "u:g", "USER u:g"),
        ("WORKDIR a/../b\n", "working_dir", "/b", "WORKDIR /b"),
        ('SHELL ["/bin/bash", "-c"]\n', "shell", ("/bin/bash", "-c"), "SHELL [/bin/bash -c]"),
        ("STOPSIGNAL SIGKILL\n", "stop_signal", "SIGKILL", "STOPSIGNAL SIGKILL"),
        ("STOPSIGNAL 9\n", "stop_signal", "9", "STOPSIGNAL 9"),
        ("HEALTHCHECK NONE\n", "health_check", HealthCheck(test=("NONE",)), 'HEALTHCHECK ["NONE"]'),
        ("ONBUILD RUN x\n", "on_build", ("RUN x",), "ONBUILD RUN x"),
    ],
)
def test_an_instruction_sets_its_field(text: str, field: str, value: object, says: str | None) -> None:
    run, said = done(text)

    assert getattr(run, field) == value
    assert says is None or said == [says]


def test_a_health_check_has_its_times() -> None:
    run, said = done("HEALTHCHECK --interval=5s --timeout=2s --start-period=1m --retries=4 CMD curl x\n")

    assert run.health_check == HealthCheck(
        test=("CMD-SHELL", "curl x"), interval=5 * 10**9, timeout=2 * 10**9, start_period=60 * 10**9, retries=4
    )
    assert said == ['HEALTHCHECK --interval=5s --timeout=2s --start-period=1m0s --retries=4 ["CMD-SHELL" "curl x"]']


def test_a_shell_counts_for_what_comes_after_it() -> None:
    run, said = done('SHELL ["/bin/ash","-xc"]\nCMD x\n')

    assert run.cmd == ("/bin/ash", "-xc", "x")
    assert nothing_run(Draft(run=run), said[1]).startswith("/bin/ash -xc #(nop)  CMD ")


def test_a_workdir_is_relative_to_the_one_before() -> None:
    assert done("WORKDIR /a\nWORKDIR b\nENV c=d\nWORKDIR $c\n")[0].working_dir == "/a/b/d"


def test_ports_of_a_variable_are_several() -> None:
    assert done("ARG P='1 2/udp'\nEXPOSE $P\n")[0].exposed_ports == ("1/tcp", "2/udp")


def test_labels_of_the_command_line_are_not_expanded() -> None:
    label = c.Label(
        span=read(lex(b"USER x").instructions[0]).span, pairs=(c.Pair(name="a", value='"$X"'),), literal=True
    )
    changed = edit(Draft(), Scope().stage(("X=1",)), label)

    assert changed.draft.run.labels == {"a": '"$X"'}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("EXPOSE 0\n", "invalid containerPort: 0"),
        ("EXPOSE 80/xyz\n", "invalid containerPort"),
        ("EXPOSE 9-8\n", "invalid containerPort"),
        ('VOLUME [""]\n', "VOLUME specified can not be an empty string"),
        ("ARG x\nVOLUME $x\n", "VOLUME specified can not be an empty string"),
        ("STOPSIGNAL nope-1\n", "Invalid signal"),
        ("ARG x\nWORKDIR $x\n", "cannot normalize nothing"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(text: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        done(text)


def test_history_counts_the_args_that_a_run_depends_on() -> None:
    assert command_run(("/bin/sh", "-c", "x"), {"a": "1", "b": ""}) == "|2 a=1 b= /bin/sh -c x"
    assert command_run(("/bin/sh", "-c", "x"), {}) == "/bin/sh -c x"


def test_changes_of_commit_are_instructions() -> None:
    run = apply_changes(RunDefaults(env=("A=1",)), ["ENV B=$A", "CMD x", "LABEL l=m"])

    assert (run.env, run.cmd, run.labels) == (("A=1", "B=1"), ("/bin/sh", "-c", "x"), {"l": "m"})
    assert apply_changes(run, []) == run


@pytest.mark.parametrize("line", ["RUN x", "COPY a b", "FROM a", "ARG a", "SHELL ['x']"])
def test_a_change_that_is_more_than_configuration_is_refused(line: str) -> None:
    with pytest.raises(Invalid, match="is not a valid change command"):
        apply_changes(RunDefaults(), [line])
