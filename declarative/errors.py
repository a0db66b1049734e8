"""The error tree, sorted by what the caller can do about an error.

    DeclarativeError             exit 1
    ├── Invalid                  the input is wrong: mend it and run again
    │   └── InvalidManifest      … with every problem of every file, each with its place
    ├── Usage                    the command line is wrong (exit 64)
    ├── NotFound                 the thing named is certainly not there
    ├── Conflict                 something else holds the name, the port, the object
    │   └── LockHeld             another apply holds the stack (exit 4)
    ├── Denied                   credentials or permissions are missing or wrong
    ├── Unsupported              this engine or machine cannot do it
    ├── Failed                   the work was tried and failed on its merits (build step, job, readiness)
    ├── Unavailable              the other side did not answer properly; retrying may help; never read as "absent"
    └── Interrupted              a person stopped us (exit 130)

Every error says what it is about (`subject`), what is wrong (`problem`), and the way out (`remedy`); `place` is
`file:line:col` where there is one. Printed as `subject: problem — remedy (place)`.
"""

from __future__ import annotations

from declarative.record import record


class DeclarativeError(Exception):
    """Anything this package raises on purpose. `exit_code` is what the command line exits with."""

    exit_code = 1

    def __init__(self, subject: str, problem: str, remedy: str = "", place: str = "") -> None:
        super().__init__(subject, problem, remedy, place)
        self.subject = subject
        self.problem = problem
        self.remedy = remedy
        self.place = place

    def __str__(self) -> str:
        text = f"{self.subject}: {self.problem}" if self.subject else self.problem
        if self.remedy:
            text += f" — {self.remedy}"
        if self.place:
            text += f" ({self.place})"
        return text


def reason_of(error: OSError) -> str:
    """Give the system's words for an error, in lower case as all of ours are."""
    return (error.strerror or str(error)).lower()


class Invalid(DeclarativeError):
    """The input is wrong."""


@record(order=True)
class Span:
    """A place in a text: `line` and `column` count from 1; 0 means "the whole file"; `length` in characters."""

    file: str
    line: int = 0
    column: int = 0
    length: int = 1

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"


@record
class Problem:
    """One thing wrong with an input file; `snippet` holds the offending lines as they are to be printed, or ""."""

    subject: str
    text: str
    remedy: str = ""
    span: Span | None = None
    snippet: str = ""

    def __str__(self) -> str:
        head = str(DeclarativeError(self.subject, self.text, self.remedy, str(self.span) if self.span else ""))
        return f"{head}\n{self.snippet}" if self.snippet else head


class InvalidManifest(Invalid):
    """Every problem of every manifest file of this run, in the order of file and line."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("", f"{len(problems)} problem{'s' if len(problems) != 1 else ''} in the manifests")
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class Usage(DeclarativeError):
    """The command line is wrong."""

    exit_code = 64


class NotFound(DeclarativeError):
    """The other side answered, and the thing is not there."""


class Conflict(DeclarativeError):
    """Somebody else holds the name, the port or the object."""


class LockHeld(Conflict):
    """Another apply holds this stack's lock."""

    exit_code = 4


class Denied(DeclarativeError):
    """Credentials or permissions are missing or wrong."""


class Unsupported(DeclarativeError):
    """This engine or machine cannot do it."""


class Failed(DeclarativeError):
    """The work was tried and failed on its merits; `output` is what it printed, to be shown to a person."""

    def __init__(self, subject: str, problem: str, remedy: str = "", place: str = "", *, output: str = "") -> None:
        super().__init__(subject, problem, remedy, place)
        self.output = output


class Unavailable(DeclarativeError):
    """No proper answer: refused, cut, timed out, 429 or 5xx. `retry_after` in seconds where the server said."""

    def __init__(
        self, subject: str, problem: str, remedy: str = "", place: str = "", *, retry_after: float | None = None
    ) -> None:
        super().__init__(subject, problem, remedy, place)
        self.retry_after = retry_after


class Interrupted(DeclarativeError):
    """A person or the system asked us to stop."""

    exit_code = 130
