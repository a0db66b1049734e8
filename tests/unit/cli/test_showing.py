"""What is printed of plans, applies and drift, and what is not."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest

from declarative.apply.events import Note, Outcome, Planned, Retrying, StepEnded, StepProgress, StepStarted, Stopping
from declarative.apply.report import Report, report_document
from declarative.cli.alarm import alarm, stopping
from declarative.cli.applying import conclude
from declarative.cli.context import Context
from declarative.cli.faults import show
from declarative.cli.live import Live
from declarative.cli.log_lines import LogLines
from declarative.cli.options import Args
from declarative.cli.plan_paint import show_plan
from declarative.cli.progress import Lines
from declarative.cli.screen import Screen
from declarative.core.plan import Change, Plan, Step
from declarative.core.plan_text import plan_text, value_text
from declarative.drivers.port import Progress
from declarative.errors import Conflict, Failed, Interrupted, LockHeld, Unavailable
from declarative.record import replace

if TYPE_CHECKING:
    from pathlib import Path

CHANGE = Change(path="spec.image", before="a:1", after="a:2", source="stack.yaml:3")
STEP = Step(
    id=1, verb="create", kind="Container", name="web-1", cause="missing", changes=(CHANGE,), source="stack.yaml:1"
)
REMOVE = Step(id=2, verb="remove", kind="Network", name="shop_back", cause="no longer in the manifests", needs=(1,))
PLAN = Plan(stack="shop", engine="docker", steps=(STEP, REMOVE), notes=("a note",), deferred=("a reason",))
DONE = Outcome(step=STEP, state="done", seconds=0.41)
FAILED = Outcome(step=STEP, state="failed", error=Failed("Container/web-1", "it exited", output="last\nwords\n"))
SKIPPED = Outcome(step=REMOVE, state="skipped", because=1)


def screen(*, colour: bool = False) -> Screen:
    return Screen(stream=io.StringIO(), tty=colour, colour=colour)


def text_of(screen: Screen) -> str:
    assert isinstance(screen.stream, io.StringIO)
    return screen.stream.getvalue()


def context(folder: Path, *, json: bool = False) -> Context:
    return Context(environ={}, folder=folder, stdin=io.BytesIO(), out=screen(), err=screen(), json=json)


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("spec.healthcheck.interval", 30_000_000_000, "30s"),
        ("spec.healthcheck.retries", 3, "3"),
        ("spec.stop_grace_period", 90_000_000_000, "1m30s"),
        ("spec.resources.memory", 1536 << 20, "1536MiB"),
        ("spec.resources.memory", 100_000_001, "100000001B"),
        ("spec.resources.memory_swap", -1, "-1"),
        ("spec.resources.cpus", 500_000_000, "0.5"),
        ("spec.resources.cpus", 2_000_000_000, "2"),
        ("spec.resources.pids", 1024, "1024"),
        ("spec.privileged", True, "true"),
        ("spec.environment.A", "1024", "1024"),
    ],
)
def test_values_are_shown_as_manifests_are_written(path: str, value: object, shown: str) -> None:
    assert value_text(path, value) == shown


def test_colour_adds_nothing_but_colour() -> None:
    plain, coloured = screen(), screen(colour=True)
    show_plan(PLAN, plain)
    show_plan(PLAN, coloured)

    assert text_of(plain) == plan_text(PLAN)
    assert re.sub(r"\x1b\[[0-9;]*m", "", text_of(coloured)) == plan_text(PLAN)
    assert "\x1b[32m" in text_of(coloured)


@pytest.mark.parametrize("colour", [False, True])
def test_no_value_is_obeyed_by_the_terminal_that_shows_it(colour: bool) -> None:
    hidden = "\x1b[2K\x1b[1A\x1b[8mrm\r\x9b2J\x07\u202e\N{LINE SEPARATOR}"
    change = Change(path="spec.command", before=hidden, after="\u3000é\t\N{WOMAN}\u200d", source="stack.yaml:3")
    shown = screen(colour=colour)
    show_plan(replace(PLAN, steps=(replace(STEP, cause=hidden, changes=(change,)),), notes=(hidden,)), shown)
    shown.line(shown.paint(str(Conflict(hidden, "is there")), "red", "bold"))
    written = re.sub(r"\x1b\[(0|2|32|1|31;1)m", "", text_of(shown)) if colour else text_of(shown)

    spelled = r"\x1b[2K\x1b[1A\x1b[8mrm\r\x9b2J\x07\u202e\u2028"
    assert f"spec.command: {spelled} → \u3000é\t\N{WOMAN}\u200d (stack.yaml:3)\n" in written
    assert f"create Container/web-1 — {spelled} (" in written
    assert f"note: {spelled}\n" in written
    assert f"{spelled}: is there\n" in written


def test_words_of_a_program_are_shown_without_its_colours(tmp_path: Path) -> None:
    said = "\x1b[31;1mnpm ERR!\x1b[0m \x1b]0;title\x07bad \x1b(B\x1b[2Kend\x08"
    shown = screen()
    Lines(shown, verbose=True)(StepProgress(step=STEP, progress=Progress(text=said)))
    with Live(screen(colour=True)) as lines:
        lines(StepStarted(step=STEP))
        lines(StepProgress(step=STEP, progress=Progress(text=said)))
        (task,) = lines._progress.tasks
    failed = context(tmp_path)
    show(Failed("Image/app", "the build failed", output=said + "\n"), failed)

    assert text_of(shown) == "  Container/web-1: npm ERR! bad end\\x08\n"
    assert task.fields["word"] == "npm ERR! bad end\\x08"
    assert text_of(failed.err).endswith("\n    npm ERR! bad end\\x08\n")


def test_a_line_of_megabytes_is_cut_in_the_middle(tmp_path: Path) -> None:
    failed = context(tmp_path)
    show(Failed("Image/app", "the build failed", output="short\nbegin" + "x" * 5_000_000 + "end\n"), failed)
    _, short, long = text_of(failed.err).splitlines()

    assert short == "    short"
    assert (long[:10], long[-4:], len(long)) == ("    beginx", "xend", 2007)


def test_one_line_per_finished_step() -> None:
    shown = screen()
    with Lines(shown) as lines:
        lines(Planned(plan=PLAN))
        lines(StepStarted(step=STEP))
        lines(StepProgress(step=STEP, progress=Progress(text="pulling")))
        lines(StepEnded(outcome=DONE))
        lines(StepEnded(outcome=FAILED))
        lines(StepEnded(outcome=SKIPPED))

    assert text_of(shown).splitlines() == [
        "create Container/web-1 (missing) 0.4s",
        "create Container/web-1: failed",
        "remove Network/shop_back: skipped, because step 1 failed",
    ]


def test_retries_stops_and_notes_are_told() -> None:
    shown = screen()
    lines = Lines(shown, verbose=True)
    lines(Retrying(error=Unavailable("engine", "cut off"), seconds=0.3))
    lines(Stopping(error=Interrupted("", "interrupted by Ctrl-C")))
    lines(Note(text="later"))
    lines(StepProgress(step=STEP, progress=Progress(text="pulling\n")))

    assert "again in 0.3s" in text_of(shown)
    assert "no new steps start" in text_of(shown)
    assert "note: later" in text_of(shown)
    assert "  Container/web-1: pulling\n" in text_of(shown)


def test_live_lines_end_with_the_same_lines() -> None:
    shown = screen(colour=True)
    with Live(shown) as live:
        live(Planned(plan=PLAN))
        live(StepStarted(step=STEP))
        live(StepProgress(step=STEP, progress=Progress(text="[red]pulling[/red]", done=1, total=2)))
        live(StepEnded(outcome=DONE))

    assert "create Container/web-1 (missing) 0.4s" in text_of(shown)


def test_log_lines_are_json_with_constant_phrases() -> None:
    import json

    shown = screen()
    log = LogLines(shown)
    for event in (
        Planned(plan=PLAN), StepStarted(step=STEP), StepEnded(outcome=FAILED), Note(text="x"),
        Stopping(error=Interrupted("", "by hand")), Retrying(error=Unavailable("e", "cut"), seconds=1.0),
        StepProgress(step=STEP, progress=Progress(text="x")),
    ):  # fmt: skip
        log(event)
    lines = [json.loads(line) for line in text_of(shown).splitlines()]

    assert [line["event"] for line in lines] == [
        "planned",
        "step started",
        "step ended",
        "note",
        "stopping",
        "retrying",
    ]
    assert all("timestamp" in line and line["level"] == "info" for line in lines)


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (Report(stack="shop"), 0),
        (Report(stack="shop", outcomes=(DONE,)), 2),
        (Report(stack="shop", outcomes=(FAILED, SKIPPED)), 1),
        (Report(stack="shop", outcomes=(DONE,), stopped=Interrupted("", "stopped")), 130),
        (Report(stack="shop", outcomes=(FAILED,), stopped=Interrupted("", "stopped")), 1),
        (Report(stack="shop", outcomes=(DONE,), stopped=LockHeld("stack shop", "taken over")), 4),
        (Report(stack="shop", outcomes=(DONE,), stopped=Failed("", "timed out")), 1),
    ],
)
def test_exit_codes_of_an_apply(report: Report, code: int, tmp_path: Path) -> None:
    assert conclude(report, Args(exit_code=True), context(tmp_path)) == code


def test_a_failure_shows_its_last_words_and_what_was_left(tmp_path: Path) -> None:
    world = context(tmp_path)
    conclude(Report(stack="shop", outcomes=(FAILED, SKIPPED)), Args(), world)

    assert "2 of 2 steps not done" in text_of(world.out)
    assert text_of(world.err).splitlines() == ["error: Container/web-1: it exited", "    last", "    words"]


def test_json_of_an_apply_is_one_document(tmp_path: Path) -> None:
    import json

    world = context(tmp_path, json=True)
    report = Report(stack="shop", engine="docker", outcomes=(FAILED, SKIPPED))
    conclude(report, Args(), world)
    document = json.loads(text_of(world.out))

    assert document == report_document(report)
    assert document["result"] == "failed"
    assert document["steps"][1]["because"] == 1
    assert document["errors"][0]["output"] == "last\nwords\n"


def test_a_screen_that_nobody_reads_drops_what_follows() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(text)

    shown = Screen(stream=Closed())
    shown.line("one")
    shown.line("two")

    assert shown.broken


def test_a_screen_that_cannot_show_a_character_escapes_it() -> None:
    buffer = io.BytesIO()
    shown = Screen(stream=io.TextIOWrapper(buffer, encoding="ascii"))
    shown.line("a → b")

    assert buffer.getvalue() == b"a \\u2192 b\n"


def test_a_run_that_only_reads_is_cut_after_its_timeout() -> None:
    import time

    with pytest.raises(Failed, match="--timeout"), alarm(0.05):
        time.sleep(5)


def test_a_signal_asks_to_stop(tmp_path: Path) -> None:
    import os
    import signal

    from declarative.apply.stop import Stop

    stop = Stop()
    stop.guarded = True
    before = signal.getsignal(signal.SIGTERM)
    with stopping(context(tmp_path), stop, None):
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
    assert "SIGTERM" in str(stop.error)
    assert signal.getsignal(signal.SIGTERM) == before


def test_before_anything_was_begun_a_signal_simply_ends_the_run(tmp_path: Path) -> None:
    import os
    import signal
    import time

    from declarative.apply.stop import Stop

    with pytest.raises(Interrupted, match="Ctrl-C"), stopping(context(tmp_path), Stop(), None):
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Failed, match="--timeout"), stopping(context(tmp_path), Stop(), 0.05):
        time.sleep(5)


def test_a_timeout_asks_to_stop_and_is_a_failure(tmp_path: Path) -> None:
    from declarative.apply.stop import Stop

    stop = Stop()
    stop.guarded = True
    with stopping(context(tmp_path), stop, 0.05):
        stop.sleep(5)
    assert isinstance(stop.error, Failed)


def test_errors_of_every_kind_have_an_exit_code() -> None:
    assert Conflict("a", "b").exit_code == 1
