"""Live progress on a terminal: a line per running step with a spinner and its last word, a bar where sizes are known.

rich is loaded here and only here. The rule that keeps it simple: what is over is printed above as `Lines` prints it, and stays.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from declarative.apply.events import Planned, StepEnded, StepProgress, StepStarted, StepWaits
from declarative.cli.progress import Lines
from declarative.cli.screen import unstyled, visible

if TYPE_CHECKING:
    from rich.progress import TaskID

    from declarative.apply.events import Event
    from declarative.cli.screen import Screen

_WORD = 60  # columns of a step's last word


class Live(Lines):
    """Shows running steps below, finished ones above."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(screen)
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._console = Console(file=screen.stream, no_color=not screen.colour, highlight=False, soft_wrap=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[word]}", style="dim", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._tasks: dict[int, TaskID] = {}
        self._guard = threading.Lock()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        with self._guard:
            match event:
                case Planned():
                    self._forget()
                case StepStarted(step=step):
                    text = f"{step.verb} {step.label}"
                    self._tasks[step.id] = self._progress.add_task(text, total=None, word="")
                case StepProgress(step=step, progress=word) if step.id in self._tasks:
                    self._update(step.id, word.text, word.done, word.total)
                case StepWaits(step=step, text=text) if step.id in self._tasks:
                    self._update(step.id, text, 0, 0)
                case _:
                    self._print(event)

    def _print(self, event: Event) -> None:
        if isinstance(event, StepEnded) and event.outcome.step.id in self._tasks:
            self._progress.remove_task(self._tasks.pop(event.outcome.step.id))
        if text := self._text(event):
            from rich.text import Text

            self._progress.print(Text.from_ansi(self._screen.shown(text)))

    def _update(self, step: int, text: str, done: int, total: int) -> None:
        lines = visible(unstyled(text)).strip().splitlines()
        task = self._tasks[step]
        if total:
            self._progress.update(task, completed=done, total=total)
        if lines:
            self._progress.update(task, word=lines[-1][:_WORD])

    def _forget(self) -> None:
        for task in self._tasks.values():
            self._progress.remove_task(task)
        self._tasks.clear()
