"""A plan that must not be made: every reason at once."""

from __future__ import annotations

from declarative.errors import DeclarativeError


class Refused(DeclarativeError):
    """Planning found problems; `problems` are all of them. The exit code is the first one's."""

    def __init__(self, problems: tuple[DeclarativeError, ...]) -> None:
        count = len(problems)
        super().__init__("", f"{count} reason{'s' if count != 1 else ''} not to go on")
        self.problems = problems
        self.exit_code = problems[0].exit_code

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)
