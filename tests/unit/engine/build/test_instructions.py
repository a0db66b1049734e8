"""Typing of instructions against BuildKit's own cases."""

from __future__ import annotations

from typing import Any

import pytest

from declarative.engine.build import commands as c
from declarative.engine.build.instructions import read
from declarative.errors import Invalid
from declarative.oci.dockerfile.lexer import lex
from tests.shared_cases import load_cases

PARSER: dict[str, Any] = load_cases("dockerfile/parser.json")
HEREDOC: dict[str, Any] = load_cases("dockerfile/heredoc.json")
STAGED = [case for case in PARSER["parse"] if case.get("stages")]


def typed(text: str) -> tuple[c.From | c.Step, ...]:
    return tuple(map(read, lex(text.encode()).instructions))


def pairs(found: tuple[c.Pair, ...]) -> list[dict[str, Any]]:
    shown = []
    for pair in found:
        one: dict[str, Any] = {"Key": pair.name}
        if pair.old:
            one["NoDelim"] = True
        if pair.value:
            one["Value"] = pair.value
        shown.append(one)
    return shown


def line(command: c.Command) -> dict[str, Any]:
    shown: dict[str, Any] = {"CmdLine": list(command.words)} if command.words else {}
    return shown | {"PrependShell": True} if command.shell else shown


def shown(step: c.From | c.Step) -> dict[str, Any]:  # noqa: PLR0911, PLR0912 - one line for each type of the cases
    """Show a step as the case file does; a type that the file does not have fails the test."""
    match step:
        case c.From(base=base):
            return {"base": base}
        case c.Run(command=command):
            return {"cmd": "RUN"} | line(command)
        case c.Cmd(command=command):
            return {"cmd": "CMD"} | line(command)
        case c.Entrypoint(command=command):
            return {"cmd": "ENTRYPOINT"} | line(command)
        case c.Copy():
            name = "ADD" if step.add else "COPY"
            return {"cmd": name, "DestPath": step.destination, "SourcePaths": list(step.sources)}
        case c.Label(pairs=found):
            return {"cmd": "LABEL", "Labels": pairs(found)}
        case c.Env(pairs=found):
            return {"cmd": "ENV", "Env": pairs(found)}
        case c.Arg(pairs=found):
            return {"cmd": "ARG", "Args": pairs(found)}
        case c.Expose(ports=ports):
            return {"cmd": "EXPOSE", "Ports": list(ports)}
        case c.Volume(paths=paths):
            return {"cmd": "VOLUME", "Volumes": list(paths)}
        case c.Workdir(path=path):
            return {"cmd": "WORKDIR", "Path": path}
        case c.User(name=name):
            return {"cmd": "USER", "User": name}
        case c.OnBuild(text=text):
            return {"cmd": "ONBUILD", "Expression": text}
        case _:
            raise AssertionError(step)


@pytest.mark.parametrize("case", STAGED, ids=[case["name"] for case in STAGED])
def test_stages_of_buildkit(case: dict[str, Any]) -> None:
    wanted = []
    for stage in case["stages"]:
        wanted += [{"base": stage["base"]}, *stage["commands"]]
    steps = typed(case["dockerfile"])
    first = next(at for at, step in enumerate(steps) if isinstance(step, c.From))
    assert [shown(step) for step in steps[first:]] == wanted
    assert all(isinstance(step, c.Arg) for step in steps[:first])


@pytest.mark.parametrize("case", PARSER["instruction_errors"], ids=lambda case: repr(case["dockerfile"]))
def test_refusals_of_buildkit(case: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        typed(case["dockerfile"])
    assert case["error"] in str(caught.value)
    assert "Dockerfile:1" in str(caught.value)


@pytest.mark.parametrize("case", HEREDOC["copy"], ids=lambda case: repr(case["dockerfile"]))
def test_copy_with_heredocs(case: dict[str, Any]) -> None:
    (found,) = typed(case["dockerfile"])
    assert isinstance(found, c.Copy)
    assert (found.destination, list(found.sources)) == (case["dest"], case["sources"])
    assert [each.text for each in found.heredocs] == [each["data"] for each in case["contents"]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FORM alpine", "did you mean `FROM`?"),
        ("FROM a\nCOPY --fron=x a b", "did you mean `from`?"),
        ("FROM a\nRUN --mount=type=cahce,target=/x true", "did you mean `cache`?"),
        ("FROM a\nRUN --network=bridge true", "default, none or host"),
        ("FROM a\nCOPY --chown=1 --chown=2 a b", "duplicate flag specified: chown"),
        ("FROM a\nCOPY --link=maybe a b", "expecting boolean value"),
        ("FROM a\nCOPY --chown a b", "missing a value on flag: chown"),
        ("FROM a\nSHELL sh -c", "SHELL requires the arguments to be in JSON form"),
        ("FROM a\nHEALTHCHECK --interval=1us CMD x", "cannot be less than 1ms"),
        ("FROM a\nHEALTHCHECK --retries=-1 CMD x", "whole number"),
        ("FROM a\nHEALTHCHECK CDM x", "unknown type 'CDM'"),
        ("FROM a AS 1st", "invalid name for build stage"),
        ("FROM a b", "either one or three"),
        ('FROM a\nVOLUME [""]', "empty string"),
    ],
)
def test_refusals_name_the_line_and_the_way_out(text: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        typed(text)
    assert said in str(caught.value)
    assert f"Dockerfile:{text.count(chr(10)) + 1}" in str(caught.value)


def test_flags_are_typed() -> None:
    _, run, copy, add, health = typed(
        "FROM a\nRUN --mount=type=cache,target=/c --mount=target=/x,from=b --network=none make\n"
        "COPY --from=b --link --exclude=*.o --exclude=*.a --chown=1:2 x /y\n"
        "ADD --checksum=sha256:00 --keep-git-dir=true --unpack=false u /\n"
        "HEALTHCHECK --interval=1m --retries=4 CMD ok"
    )
    assert isinstance(run, c.Run)
    assert run.mounts[0] == c.Mount(kind="cache", options=(("target", "/c"),))
    assert (run.mounts[1].kind, run.network) == ("bind", "none")
    assert isinstance(copy, c.Copy)
    assert (copy.origin, copy.link, copy.exclude, copy.chown) == ("b", True, ("*.o", "*.a"), "1:2")
    assert isinstance(add, c.Copy)
    assert (add.add, add.checksum, add.keep_git_dir, add.unpack) == (True, "sha256:00", True, False)
    assert isinstance(health, c.Healthcheck)
    assert (health.interval, health.retries) == (60_000_000_000, 4)


@pytest.mark.parametrize("case", HEREDOC["run"], ids=lambda case: repr(case["dockerfile"]))
def test_run_with_heredocs(case: dict[str, Any]) -> None:
    (found,) = typed(case["dockerfile"])
    assert isinstance(found, c.Run)
    assert found.command.shell == case["shell"]
    assert list(found.command.words) == case["command"]
    assert len(found.command.heredocs) == len(case["files"])


@pytest.mark.parametrize("name", ["flags", "health"])
def test_refused_instructions_of_parsed_files(name: str) -> None:
    (case,) = [each for each in PARSER["parse"] if each["name"] == name]
    place, _, problem = case["instruction_error"].removeprefix("dockerfile parse error on line ").partition(": ")
    with pytest.raises(Invalid) as caught:
        typed(case["dockerfile"])
    assert problem in str(caught.value)
    assert f"Dockerfile:{place}" in str(caught.value)
