"""The frame of the command line: help, verbs, usage, exit codes, and where what is printed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from declarative import __version__
from declarative.cli import main as main_module
from declarative.cli.main import load, main, overview
from declarative.cli.options import Parser, duration, hoist
from declarative.cli.verbs import VERBS
from declarative.errors import Unsupported, Usage
from tests.cli import PROGRAM, Cli, clean_environment

if TYPE_CHECKING:
    from pathlib import Path

    from declarative.cli.context import Context

MANIFEST = """
apiVersion: declarative/v1
kind: Container
metadata: {name: web}
spec: {image: busybox}
"""


@pytest.fixture
def offline(tmp_path: Path) -> Cli:
    """Return the program under test where no engine answers."""
    environment = clean_environment(tmp_path, docker_host=f"unix://{tmp_path}/none.sock", plugins=tmp_path / "none")
    return Cli(folder=tmp_path, environment=environment)


def test_help_lists_every_verb(offline: Cli) -> None:
    ended = offline("--help").expect(0)

    assert all(f"  {verb} " in ended.out for verb in VERBS)
    assert ended.out == overview()
    assert ended.err == ""


def test_no_verb_is_wrong_usage(offline: Cli) -> None:
    ended = offline().expect(64)

    assert ended.out == ""
    assert "usage:" in ended.err


@pytest.mark.parametrize("arguments", [["version"], ["--version"], ["-v", "version"], ["version", "--no-color"]])
def test_the_version_is_printed(offline: Cli, arguments: list[str]) -> None:
    assert offline(*arguments).expect(0).out == f"declarative {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["aply"], "did you mean `apply`?"),
        (["apply", "--engin", "x"], "--engin"),
        (["plan", "-o", "xml"], "xml"),
        (["plan", "--target", "web"], "KIND/NAME"),
        (["plan", "--timeout", "soon"], "soon"),
        (["plan", "--timeout=-1s"], "'-1s' is negative"),
        (["plan", "--timeout=99999999999999999999"], "longer than 292 years"),
        (["apply", "--parallelism", "0"], "at least 1"),
        (["apply", "--parallelism", "\N{SUPERSCRIPT TWO}"], "at least 1"),
        (["logs", "--tail", "\N{SUPERSCRIPT TWO}"], "nor `all`"),
        (["status", "--stack", "shop", "--engine", "bogus://x"], "'bogus://x' has a scheme that no engine here speaks"),
        (["engine", "status", "--engine", "bogus://x"], "'bogus://x' has a scheme that no engine here speaks"),
        (["status", "--stack", "shop", "--engine", "/run/docker.sock"], "did you mean unix:///run/docker.sock?"),
        (["apply", "--allow-deletes", "-1"], "allow-deletes"),
        (["rollout"], "undo"),
        (["plan"], "declarative init"),
    ],
)
def test_wrong_usage_exits_with_64_and_says_what(offline: Cli, arguments: list[str], words: str) -> None:
    ended = offline(*arguments).expect(64)

    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert words in ended.err


@pytest.mark.parametrize("verb", ["apply", "plan", "destroy", "status", "drift", "history", "rollout", "version"])
def test_every_verb_explains_itself(offline: Cli, verb: str) -> None:
    ended = offline(verb, "--help").expect(0)

    assert f"usage: declarative {verb}" in ended.out
    assert offline("help", verb).out == ended.out


def test_json_errors_are_one_document_on_standard_output(offline: Cli) -> None:
    ended = offline("plan", "-o", "json", "-f", "missing.yaml").expect(1)
    (error,) = ended.json()["errors"]

    assert error["subject"] == "missing.yaml"
    assert set(error) >= {"subject", "problem", "remedy", "place"}
    assert "missing.yaml" in ended.err


def test_all_problems_of_all_manifests_are_shown_with_their_places(offline: Cli) -> None:
    (offline.folder / "a.yaml").write_text(MANIFEST.replace("image: busybox", "imge: busybox"))
    (offline.folder / "b.yaml").write_text(MANIFEST.replace("web", "db").replace("Container", "Contaner"))
    ended = offline("plan", "-f", "a.yaml", "-f", "b.yaml").expect(1)

    assert "a.yaml:5:8" in ended.err
    assert "did you mean `image`?" in ended.err
    assert "b.yaml:3:7" in ended.err
    assert ended.err.count("error: ") >= 2


def test_an_engine_that_is_not_there_is_one_clear_line(offline: Cli) -> None:
    (offline.folder / "stack.yaml").write_text(MANIFEST)
    ended = offline("plan").expect(1)

    assert "none.sock" in ended.err
    assert len(ended.err.splitlines()) == 1
    assert "Traceback" not in ended.err


def test_log_format_json_makes_errors_json_lines(offline: Cli) -> None:
    (offline.folder / "stack.yaml").write_text(MANIFEST)
    ended = offline("plan", "--log-format", "json").expect(1)

    assert json.loads(ended.err)["level"] == "error"


def test_a_reader_that_goes_away_is_no_error(offline: Cli) -> None:
    line = f"{PROGRAM} --help | true; echo ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, env=offline.environment)

    assert ended.stdout == "0\n"
    assert ended.stderr == ""


def test_options_may_stand_before_the_verb() -> None:
    assert hoist(["-f", "x", "plan", "-v"]) == ("plan", ["-f", "x", "-v"])
    assert hoist(["--no-color", "--engine=unix:///x", "apply"]) == ("apply", ["--no-color", "--engine=unix:///x"])
    assert hoist(["-f", "-", "plan"]) == ("plan", ["-f", "-"])
    assert hoist(["-v"]) == ("", ["-v"])
    assert hoist(["-h"]) == ("help", [])


@pytest.mark.parametrize(("text", "seconds"), [("90", 90.0), ("1.5", 1.5), ("2m", 120.0), ("1m30s", 90.0), ("0", 0.0)])
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


def test_a_parser_raises_instead_of_leaving() -> None:
    with pytest.raises(Usage):
        Parser(prog="x").parse_args(["--nonsense"])


def test_a_verb_without_a_file_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERBS, "teleport", "not there")

    with pytest.raises(Unsupported, match="cannot do it yet"):
        load("teleport")


def test_a_crash_says_where_to_report_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def explode(arguments: list[str], context: Context) -> int:
        del arguments, context
        message = "boom"
        raise ZeroDivisionError(message)

    monkeypatch.setattr(main_module, "_dispatch", explode)
    assert main(["plan"]) == 1
    short = capsys.readouterr().err
    assert "ZeroDivisionError: boom" in short
    assert "report it" in short
    assert "Traceback" not in short
    assert main(["plan", "-v"]) == 1
    assert "Traceback" in capsys.readouterr().err


HEAVY = (
    "importlib.metadata",
    "urllib3",
    "ssl",
    "jsonschema",
    "jinja2",
    "structlog",
    "tenacity",
    "rich",
    "asyncio",
    "subprocess",
)


@pytest.mark.parametrize(
    ("arguments", "more"),
    [(["--help"], ("dataclasses", "argparse", "json", "yaml")), (["version"], ("yaml", "dataclasses")), (["plan"], ())],
)
def test_start_up_is_lean(offline: Cli, arguments: list[str], more: tuple[str, ...]) -> None:
    (offline.folder / "stack.yaml").write_text(MANIFEST)
    code = (
        "import sys\nfrom declarative.cli.main import main\n"
        f"main({arguments!r})\n"
        f"print([name for name in {HEAVY + more!r} if name in sys.modules], file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=offline.folder,
        env=offline.environment,
    )
    assert ended.stderr.splitlines()[-1] == "[]"
