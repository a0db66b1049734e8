"""Makes the errors of a failed step say what a person needs: which resource, why, its last words, and where it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.drivers.port import BuildFailed
from declarative.errors import DeclarativeError, Failed, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.apply.readiness import Never
    from declarative.core.plan import Step
    from declarative.drivers.port import Driver

OUTPUT_LINES = 20


def about(step: Step, error: DeclarativeError) -> DeclarativeError:
    """Give an error like this one about the step's resource, with its place in the manifest."""
    problem = error.problem
    stranger = error.subject not in ("", step.label) and step.name not in error.subject
    if stranger or isinstance(error, Unavailable):
        problem = f"{error.subject}: {problem}" if error.subject else problem
    return reworded(error, subject=step.label, problem=problem, place=error.place or step.source)


def reworded(
    error: DeclarativeError,
    *,
    subject: str = "",
    problem: str = "",
    remedy: str = "",
    place: str = "",
    output: str = "",
) -> DeclarativeError:
    """Give an error of the same kind with other words where they are given. One error may be thrown into many steps."""
    words = (subject or error.subject, problem or error.problem, remedy or error.remedy, place or error.place)
    if isinstance(error, BuildFailed):  # what a shell in its last good layer is opened by
        said = error.output or output
        return BuildFailed(*words, output=said, step=error.step, line=error.line, layer=error.layer)
    if isinstance(error, Failed):
        return Failed(*words, output=error.output or output)
    if isinstance(error, Unavailable):
        return Unavailable(*words, retry_after=error.retry_after)
    return type(error)(*words)


def diagnosis(driver: Driver, step: Step, answer: Never) -> Callable[[], Failed]:
    """Give a call that finds out more about a container that is not and will not be ready."""

    def find_out() -> Failed:
        problem = answer.why
        try:
            state = driver.inspect(answer.name)
            if state.oom_killed:
                problem += " (killed: out of memory)"
            if state.error:
                problem += f" ({state.error})"
            output = driver.last_output(answer.name, OUTPUT_LINES)
        except DeclarativeError:
            output = ""
        if answer.name not in (step.name, f"{step.name}.new"):
            problem = f"{answer.name}: {problem}"
        return Failed(step.label, problem, _way_out(answer, step, output), output=output)

    return find_out


def _way_out(answer: Never, step: Step, output: str) -> str:
    if answer.timed_out:
        return "give it more time (update.deadline), or look at `declarative logs`"
    if step.kind == "Job":
        return "the next apply runs the job again"
    return "its last output is below" if output.strip() else "it printed nothing: look at its command"
