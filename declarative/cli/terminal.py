"""A person's terminal, lent to a program in a container: raw while it runs, its own again whatever happens.

The rule that keeps it simple: bytes go through as they are; who is at the other end decides what they mean.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from declarative.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from declarative.cli.context import Context
    from declarative.cli.screen import Screen
    from declarative.drivers.port import Streams

_ROWS, _COLUMNS = 24, 80  # of a terminal that does not say


@contextmanager
def streams(context: Context, *, tty: bool = True) -> Iterator[Streams]:
    """Give our ends of a program. With `tty`, and where input and output are a terminal, it is in raw mode in this block."""
    from declarative.drivers.port import Streams

    stdin = descriptor(context)
    raw = tty and stdin is not None and os.isatty(stdin) and context.out.tty
    with _raw(stdin) if raw and stdin is not None else nullcontext():
        yield Streams(
            stdin=stdin,
            stdout=_writer(context.out),
            stderr=_writer(context.err),
            tty=raw,
            size=_size if raw else None,
        )


def descriptor(context: Context) -> int | None:
    """Give standard input's file descriptor; None where it has none, or is closed."""
    try:
        return context.stdin.fileno()
    except (OSError, ValueError):
        return None


@contextmanager
def _raw(number: int) -> Iterator[None]:
    """Put a terminal into raw mode: each key goes to the program, Ctrl-C too; whoever ends us gets it back as it was."""
    import signal
    import termios
    import tty

    def end(signaled: int, frame: object) -> None:
        del frame
        raise Interrupted("", f"interrupted by {signal.Signals(signaled).name}")

    before = termios.tcgetattr(number)
    handlers = {signaled: signal.signal(signaled, end) for signaled in (signal.SIGTERM, signal.SIGHUP)}
    tty.setraw(number)
    try:
        yield
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)
        for signaled, handler in handlers.items():
            signal.signal(signaled, handler)


def _writer(screen: Screen) -> Callable[[bytes], None]:
    """Write bytes to a screen as they are; a reader that went away, or a full disk, ends nothing."""
    binary = getattr(screen.stream, "buffer", None)

    def write(data: bytes) -> None:
        if screen.broken:
            return
        if binary is None:
            screen.write(data.decode("utf-8", "replace"))
            return
        try:
            binary.write(data)
            binary.flush()
        except OSError as error:
            screen.lose(error)

    return write


def _size() -> tuple[int, int]:
    with suppress(OSError):
        size = os.get_terminal_size()
        return size.lines, size.columns
    return _ROWS, _COLUMNS
