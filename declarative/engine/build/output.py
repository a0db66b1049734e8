"""What a build tells its client, as dockerd's classic builder does: text, image ids, progress of a pull.

The rule that keeps it simple: stages that are built at the same time speak one after the other, in the order of the file. The
first that is not done speaks at once; what a later one says waits, and that one waits, too, once it has much to say.
"""

from __future__ import annotations

import codecs
import threading
from typing import TYPE_CHECKING

from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from declarative.engine.images.progress import Progress

_WAITING_MAX = 4 << 20
"""Characters that one stage may have waiting."""
_RED, _PLAIN = "\x1b[91m", "\x1b[0m"


@record
class Text:
    """Something for a person, with its line ends."""

    text: str


@record
class Made:
    """The id of an image: of each stage at its end."""

    id: str


@record
class Report:
    """How far a pull or a download is."""

    progress: Progress


Message = Text | Made | Report


class Console:
    """Puts the speech of several speakers, numbered in their order, into one stream. `sink` takes messages, one at a time."""

    def __init__(self, sink: Callable[[Message], None], order: Sequence[int], stopped: Callable[[], bool]) -> None:
        self._sink = sink
        self._stopped = stopped
        self._turn = threading.Condition()
        self._left = list(order)
        self._waiting: dict[int, list[Message]] = {number: [] for number in order}
        self._sizes: dict[int, int] = dict.fromkeys(order, 0)
        self._done: set[int] = set()

    def say(self, speaker: int, message: Message) -> None:
        """Tell it now, or when it is this speaker's turn."""
        with self._turn:
            if isinstance(message, Text):
                self._sizes[speaker] += len(message.text)
            while self._left[:1] != [speaker] and self._sizes[speaker] > _WAITING_MAX and not self._stopped():
                self._turn.wait(0.2)
            if self._left[:1] == [speaker]:
                self._sink(message)
            else:
                self._waiting[speaker].append(message)

    def finish(self, speaker: int) -> None:
        """Hear that a speaker has no more to say."""
        with self._turn:
            self._done.add(speaker)
            while self._left and self._left[0] in self._done:
                self._left.pop(0)
                self._flush_first()
            self._turn.notify_all()

    def fail(self, speaker: int) -> None:
        """Let a speaker, and those before it, say what waits: it is the last that is heard."""
        with self._turn:
            for number in [number for number in self._left if number <= speaker]:
                self._tell(number)
            self._left = []
            self._turn.notify_all()

    def _flush_first(self) -> None:
        if self._left:
            self._tell(self._left[0])

    def _tell(self, speaker: int) -> None:
        messages, self._waiting[speaker] = self._waiting[speaker], []
        for message in messages:
            self._sink(message)


class Voice:
    """One speaker's way to the console, in the words of the classic builder."""

    def __init__(self, say: Callable[[Message], None], total: int) -> None:
        self.message = say
        self._total = total
        self._out = codecs.getincrementaldecoder("utf-8")("replace")
        self._err = codecs.getincrementaldecoder("utf-8")("replace")

    def text(self, text: str) -> None:
        """Say something as it is."""
        self.message(Text(text=text))

    def step(self, number: int, text: str) -> None:
        """Announce a step."""
        self.text(f"Step {number}/{self._total} : {text}")
        self.text("\n")

    def image(self, short: str) -> None:
        """Tell what a step has made; "" for nothing yet."""
        self.text(f" ---> {short}\n")

    def cached(self) -> None:
        """Tell that it was made before."""
        self.text(" ---> Using cache\n")

    def running(self, short: str) -> None:
        """Tell that a container is made for the step."""
        self.text(f" ---> Running in {short}\n")

    def removed(self, short: str) -> None:
        """Tell that this container is gone."""
        self.text(f"Removing intermediate container {short}\n")

    def warning(self, text: str) -> None:
        """Tell of something that does not stop the build."""
        self.text(f"[Warning] {text}\n")

    def out(self, data: bytes, *, last: bool = False) -> None:
        """Pass on what a command writes to its output; `last`: nothing follows."""
        text = self._out.decode(data, last)
        if text:
            self.text(text)

    def err(self, data: bytes, *, last: bool = False) -> None:
        """Pass on what a command writes to its error output; red, as dockerd has it."""
        text = self._err.decode(data, last)
        if text:
            self.text(f"{_RED}{text}{_PLAIN}")

    def ended(self) -> None:
        """Hear that a command has ended, perhaps in the middle of a character."""
        self.out(b"", last=True)
        self.err(b"", last=True)
