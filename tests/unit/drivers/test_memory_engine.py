"""The engine in memory: time, programs, health, and the merging that it does as dockerd does it."""

from __future__ import annotations

import pytest

from declarative.core import actions as do
from declarative.core.resources import Healthcheck, Mount, Resources
from declarative.core.state import ImageConfig
from declarative.drivers.memory import Program
from declarative.drivers.memory.merge import merged
from declarative.errors import Conflict
from tests.contract.bench import container, memory_bench

_CHECK = Healthcheck(test=("CMD", "true"), interval=5)


def test_programs_live_by_the_clock_of_the_test() -> None:
    bench, now = memory_bench(), [0.0]
    assert bench.memory is not None
    bench.memory.clock = lambda: now[0]
    bench.memory.programs[bench.name()] = Program(exits_after=5, exit_code=3, healthy_after=2)
    name = bench.start(container(healthcheck=_CHECK))
    seen = []
    for moment in (0, 1.9, 2, 4.9, 5):
        now[0] = moment
        state = bench.see(name)
        seen.append((state.state, state.health, state.exit_code))
    assert seen == [
        ("running", "starting", 0),
        ("running", "starting", 0),
        ("running", "healthy", 0),
        ("running", "healthy", 0),
        ("exited", "", 3),
    ]


@pytest.mark.parametrize(
    ("policy", "state", "restarts"),
    [
        ("no", "exited", 0),
        ("always", "restarting", 10),
        ("on-failure:3", "exited", 3),
        ("unless-stopped", "restarting", 10),
    ],
)
def test_restart_policies(policy: str, state: str, restarts: int) -> None:
    bench, now = memory_bench(), [0.0]
    assert bench.memory is not None
    bench.memory.clock = lambda: now[0]
    bench.memory.programs[bench.name()] = Program(exits_after=1, exit_code=1)
    name = bench.start(container(restart=policy))
    now[0] = 10.5
    seen = bench.driver.observe(bench.stack, [name])[name]
    assert (seen.state, seen.restarts) == (state, restarts)


def test_an_unhealthy_program_stays_running() -> None:
    bench = memory_bench()
    assert bench.memory is not None
    bench.memory.programs[bench.name()] = Program(healthy_after=None, unhealthy_after=0)
    assert bench.see(bench.start(container(healthcheck=_CHECK))).health == "unhealthy"


def test_merging_follows_dockerd() -> None:
    image = ImageConfig(
        environment={"A": "image", "B": "image"},
        command=("image",),
        entrypoint=("run",),
        labels={"a": "image", "declarative.stack": "other"},
        volumes=("/v",),
        exposed=("80/tcp",),
        healthcheck=Healthcheck(test=("CMD", "image"), retries=7),
        user="nobody",
    )
    plain = merged(container(command=None), image, log_driver="json-file")
    assert (plain.entrypoint, plain.command) == (("run",), ("image",))
    assert plain.labels == {"a": "image"}
    assert plain.volumes == (Mount(target="/v"),)
    assert plain.user == "nobody"
    own = merged(
        container(
            command=("mine",), environment={"A": "mine"}, healthcheck=_CHECK, resources=Resources(memory=1 << 26)
        ),
        image,
        log_driver="journald",
    )
    assert (own.entrypoint, own.command) == (("run",), ("mine",))
    assert own.environment == {"A": "mine", "B": "image"}
    assert own.healthcheck == Healthcheck(test=("CMD", "true"), interval=5, retries=7)
    assert own.resources.memory_swap == 1 << 27
    assert own.logging is not None
    assert own.logging.driver == "journald"
    reset = merged(container(entrypoint=("mine",), command=None), image, log_driver="json-file")
    assert (reset.entrypoint, reset.command) == (("mine",), None)


def test_a_crash_can_be_put_before_and_after_every_change() -> None:
    bench = memory_bench()
    assert bench.memory is not None

    def die(point: str) -> None:
        if point.startswith("after Create"):
            raise KeyboardInterrupt

    bench.memory.hook = die
    with pytest.raises(KeyboardInterrupt):
        bench.create()
    bench.memory.hook = lambda _: None
    assert bench.see(bench.create()).state == "created"
    with pytest.raises(Conflict):
        bench.create(container(user="other"))


def test_removing_what_a_successor_took_over_keeps_its_data() -> None:
    bench = memory_bench()
    old = bench.start(container(volumes=(Mount(target="/an"),)), name="old")
    volume = bench.hand.anonymous(old)["/an"]
    data = bench.hand.data(volume)
    bench.create(container(volumes=(Mount(target="/an"),)), name="new", inherit=old)
    bench.do(do.RemoveContainer(name=old, volumes=True))
    assert bench.hand.data(bench.hand.anonymous("new")["/an"]) == data
