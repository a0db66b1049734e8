"""What is to be done later, by workers who go home."""

from __future__ import annotations

import threading

from declarative.engine.containers.schedule import Schedule


def test_work_that_comes_while_the_workers_go_home_is_left_undone() -> None:
    errors: list[BaseException] = []
    for _ in range(30):
        schedule, over = Schedule(errors.append), threading.Event()
        threads = [threading.Thread(target=_press, args=(schedule, over, errors)) for _ in range(4)]
        for thread in threads:
            thread.start()
        schedule.close()
        over.set()
        for thread in threads:
            thread.join()
    assert errors == []


def _press(schedule: Schedule, over: threading.Event, errors: list[BaseException]) -> None:
    try:
        while not over.is_set():
            schedule.soon(lambda: None)
    except RuntimeError as error:
        errors.append(error)
