"""Two applies of one stack at the same time: the second one waits, or says who is before it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from declarative.apply.run import apply
from declarative.core.planner.refusal import Refused
from declarative.errors import LockHeld
from declarative.record import replace
from tests.unit.apply.world import HEAD, container

if TYPE_CHECKING:
    from tests.unit.apply.world import World

_OTHER = {"nonce": "other", "user": "somebody", "host": "there", "pid": "1"}


def test_what_is_half_done_by_another_apply_is_no_reason_to_refuse(world: World) -> None:
    world.apply(_text("sleep 9000"))
    spec = world.engine.containers["shop-web-1"].spec
    world.engine.create("shop-web-1.new", spec, {}, None, None)  # as it may look for a moment
    with world.driver.lock("shop", timeout=0, holder=_OTHER), pytest.raises(LockHeld, match="somebody on there"):
        world.apply(_text("sleep 9001"))
    with pytest.raises(Refused, match=r"shop-web-1\.new"):
        world.apply(_text("sleep 9001"))


def test_it_is_looked_at_again_once_the_other_apply_has_ended(world: World) -> None:
    world.apply(_text("sleep 9000"))
    spec = world.engine.containers["shop-web-1"].spec
    world.engine.create("shop-web-1.new", spec, {}, None, None)
    lease = world.driver.lock("shop", timeout=0, holder=_OTHER)

    def end() -> None:
        del world.engine.containers["shop-web-1.new"]
        lease.__exit__(None, None, None)

    threading.Timer(0.2, end).start()
    options = replace(world.options(), lock_timeout=10.0)
    assert apply(world.load(_text("sleep 9001")).desired, world.driver, options).done
    assert world.command("shop-web-1") == ("sleep", "9001")


def _text(command: str) -> str:
    return f"{HEAD}kind: Stack\nmetadata: {{name: shop}}\n" + container("web", command)
