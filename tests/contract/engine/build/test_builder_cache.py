"""The cache of builds, stages, and what builds leave: what is made anew, and when.

The rule that keeps it simple: after every test nothing may be left that only a running build has.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from declarative.engine.build.request import BuildRequest
from declarative.engine.build.running import CommandFailed
from declarative.oci.reference import Reference
from tests.contract.engine.build.builders import Said, Shop

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def steps(said: Said) -> list[tuple[str, bool]]:
    """Give the text of each step, and whether it came from the cache."""
    found = re.split(r"Step \d+/\d+ : ", said.text)[1:]
    return [(part.split("\n")[0], "---> Using cache" in part) for part in found]


def cached(said: Said) -> list[bool]:
    return [hit for text, hit in steps(said) if not text.startswith("FROM")]


# ---- the cache


def test_the_same_build_again_comes_from_the_cache(made: Shop) -> None:
    text = "FROM busybox\nENV a=1\nCOPY f /\nRUN date +%N > /now\nWORKDIR /w\nLABEL x=y\n"
    first, said = made.build(text, {"f": "1"})
    second, again = made.build(text, {"f": "1"})

    assert cached(said) == [False] * 5
    assert cached(again) == [True] * 5
    assert first == second
    assert again.text.endswith(f" ---> {first.short}\nSuccessfully built {first.short}\n")


def test_a_change_makes_all_above_it_anew(made: Shop) -> None:
    text = "FROM busybox\nRUN echo one\nCOPY g /\nRUN echo two\nENV z=1\n"
    made.build(text, {"g": "1"})
    _, said = made.build(text, {"g": "2"})
    _, again = made.build(text.replace("one", "uno"), {"g": "2"})

    assert cached(said) == [True, False, False, False]
    assert cached(again) == [False, False, False, False]


def test_times_of_files_do_not_count_and_modes_do(made: Shop, tmp_path: Path) -> None:
    text = "FROM scratch\nCOPY h /\n"
    (tmp_path / "Dockerfile").write_text(text)
    (tmp_path / "h").write_text("x")

    def packed() -> bytes:
        return subprocess.run(["tar", "-C", tmp_path, "-cf", "-", "."], check=True, capture_output=True).stdout

    ids = []
    for mode, when in ((0o644, 1), (0o644, 2), (0o600, 2)):
        (tmp_path / "h").chmod(mode)
        os.utime(tmp_path / "h", (when, when))
        ids.append(made.builder.build(BuildRequest(), [packed()], lambda _: None))

    assert ids[0] == ids[1] != ids[2]


def test_an_arg_that_a_run_may_see_counts(made: Shop) -> None:
    text = "FROM busybox\nARG V=1\nRUN echo $V > /v\n"
    first, _ = made.build(text, args={"V": "a"})
    _, same = made.build(text, args={"V": "a"})
    second, other = made.build(text, args={"V": "b"})

    assert cached(same) == [True, True]
    assert cached(other) == [True, False]
    assert (made.content(first, "v"), made.content(second, "v")) == (b"a\n", b"b\n")


def test_a_proxy_does_not_count(made: Shop) -> None:
    text = "FROM busybox\nRUN echo $http_proxy > /p\n"
    first, _ = made.build(text, args={"http_proxy": "one"})
    second, said = made.build(text, args={"http_proxy": "two"})

    assert made.content(first, "p") == b"one\n"
    assert cached(said) == [True]
    assert first == second
    assert "proxy" not in made.images.get(first).raw.decode().replace("echo $http_proxy", "")


def test_labels_that_read_alike_are_not_the_same(made: Shop) -> None:
    first, _ = made.build('FROM busybox\nLABEL a="b c=d"\n')
    second, _ = made.build("FROM busybox\nLABEL a=b c=d\n")

    assert made.config(first)["config"]["Labels"] == {"a": "b c=d"}
    assert made.config(second)["config"]["Labels"] == {"a": "b", "c": "d"}


def test_no_cache_makes_everything_anew_and_is_cached_itself(made: Shop) -> None:
    text = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /u\n"
    first, _ = made.build(text)
    second, said = made.build(text, no_cache=True)
    third, again = made.build(text)

    assert cached(said) == [False]
    assert cached(again) == [True]
    assert first != second == third


def test_a_cached_image_that_was_removed_is_made_again(made: Shop) -> None:
    text = "FROM busybox\nRUN echo removed > /r\n"
    made.build(text)
    made.builder.leftovers.prune(everything=True)
    id_, said = made.build(text)

    assert cached(said) == [False]
    assert made.content(id_, "r") == b"removed\n"


def test_each_step_is_an_image_on_the_one_before(made: Shop) -> None:
    id_, said = made.build("FROM busybox\nENV q=1\nRUN echo debug > /me\nENV q=2\n")
    shown = re.findall(r" ---> ([0-9a-f]{12})\n", said.text)
    parent = made.images.parent(id_)

    assert parent is not None
    assert shown[-1] == id_.short
    assert shown[-2] == parent.short
    assert made.images.resolve(shown[-2]).id == parent
    assert made.content(parent, "me") == b"debug\n"


def test_files_of_another_image_are_hashed_once(made: Shop) -> None:
    text = "FROM busybox AS a\nRUN echo once > /once\nFROM scratch\nCOPY --from=a /once /\n"
    first, _ = made.build(text)
    second, said = made.build(text)

    assert first == second
    assert cached(said) == [True, True]


def test_cache_from_takes_the_steps_of_an_image_made_elsewhere(made: Shop) -> None:
    text = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /u\nENV a=b\nCOPY k /\n"
    elsewhere, _ = made.build(text, {"k": "1"}, no_cache=True)
    made.images.tag(elsewhere, Reference.parse("elsewhere:1"))
    made.parts.cache.forget([step.image for step in made.parts.cache.all()])
    id_, said = made.build(text, {"k": "1"}, cache_from=("elsewhere:1", "missing:1"))
    _, changed = made.build(text, {"k": "2"}, cache_from=("elsewhere:1",))

    assert cached(said) == [True, True, True]
    assert made.content(id_, "u") == made.content(elsewhere, "u")
    assert cached(changed) == [True, True, False]


# ---- stages


def test_a_stage_that_nobody_needs_is_not_built(made: Shop) -> None:
    _, said = made.build("FROM busybox AS a\nRUN exit 1\nFROM busybox AS b\nRUN true\nFROM b\n")

    assert [text for text, _ in steps(said)] == ["FROM busybox AS b", "RUN true", "FROM b"]


def test_stages_run_at_the_same_time_and_speak_one_after_the_other(made: Shop) -> None:
    wait = "while [ ! -e /c/{0} ]; do sleep 0.05; done"
    text = (
        "FROM busybox AS a\n"
        f"RUN --mount=type=cache,id=meet,target=/c touch /c/a; {wait.format('b')}; echo A; touch /A\n"
        "FROM busybox AS b\n"
        f"RUN --mount=type=cache,id=meet,target=/c touch /c/b; {wait.format('a')}; echo B; touch /B\n"
        "FROM scratch\nCOPY --from=a /A /\nCOPY --from=b /B /\n"
    )
    id_, said = made.build(text)
    order = re.findall(r"Step (\d)/|^([AB])$", said.text, re.MULTILINE)

    assert [step or line for step, line in order] == ["1", "2", "A", "3", "4", "B", "5", "6", "7"]
    assert {"A", "B"} <= made.files(id_).keys()


def test_a_failure_stops_the_other_stages(made: Shop) -> None:
    said = Said()
    with pytest.raises(CommandFailed, match="returned a non-zero code: 4"):
        made.build(
            "FROM busybox AS a\nRUN sleep 1000\nFROM busybox AS b\nRUN echo no; exit 4\n"
            "FROM scratch\nCOPY --from=a / /\nCOPY --from=b / /\n",
            said=said,
        )

    assert said.text.endswith("no\n")


def test_triggers_run_after_from_and_are_told(made: Shop) -> None:
    base, _ = made.build("FROM busybox\nONBUILD RUN echo trigger > /t\nONBUILD COPY f /\n")
    made.images.tag(base, Reference.parse("trigger:1"))
    id_, said = made.build("FROM trigger:1\nENV a=b\n", {"f": "x"})

    assert "# Executing 2 build triggers\n" in said.text
    assert (made.content(id_, "t"), made.content(id_, "f")) == (b"trigger\n", b"x")
    assert "OnBuild" not in made.config(id_)["config"]


def test_an_argument_makes_anew_what_uses_it_and_not_what_stands_between(made: Shop) -> None:
    text = "FROM busybox\nARG V=1\nCOPY f /f\nRUN echo $V > /v\nARG W=a\nENV E=$W\nWORKDIR /w\n"
    made.build(text, {"f": "x"})
    id_, said = made.build(text, {"f": "x"}, args={"V": "2"})
    _, again = made.build(text, {"f": "x"}, args={"V": "2", "W": "b"})

    assert cached(said) == [True, True, False, False, False, False]
    assert made.content(id_, "v") == b"2\n"
    assert [entry["created_by"] for entry in made.config(id_)["history"]][1].endswith("ARG V=1")
    assert cached(again) == [True, True, True, True, False, False]


def test_an_argument_that_a_trigger_asks_for_is_no_misspelling(made: Shop) -> None:
    base, _ = made.build("FROM busybox\nONBUILD ARG WHO=none\nONBUILD RUN echo $WHO > /who\n")
    made.images.tag(base, Reference.parse("asks:1"))
    id_, said = made.build("FROM asks:1\n", args={"WHO": "me", "WOH": "typo"})

    assert made.content(id_, "who") == b"me\n"
    assert "[WOH] were not consumed" in said.text


def test_a_trigger_may_take_from_a_stage_that_only_it_needs(made: Shop) -> None:
    base, _ = made.build("FROM busybox\nONBUILD COPY --from=extra /x /\n")
    made.images.tag(base, Reference.parse("needs:1"))
    id_, _ = made.build("FROM busybox AS extra\nRUN echo extra > /x\nFROM needs:1\n")

    assert made.content(id_, "x") == b"extra\n"


# ---- what is left


def test_prune_takes_what_is_in_nobodys_use(made: Shop) -> None:
    made.builder.leftovers.prune(everything=True)
    kept, _ = made.build("FROM busybox\nRUN echo kept > /k\nLABEL k=1\n", tags=(Reference.parse("kept:1"),))
    gone, _ = made.build("FROM busybox\nRUN echo gone > /g\nLABEL g=1\n")
    pruned = made.builder.leftovers.prune(everything=False)

    assert gone.hex in pruned.ids
    assert len(pruned.ids) == 2
    assert pruned.size == 5
    assert made.content(kept, "k") == b"kept\n"
    _, said = made.build("FROM busybox\nRUN echo kept > /k\nLABEL k=1\n")
    assert cached(said) == [True, True]


def test_prune_with_everything_takes_caches_too_but_none_in_use(made: Shop) -> None:
    text = "FROM busybox\nRUN --mount=type=cache,target=/c,id=p echo x > /c/x{}\n"
    made.build(text.format(""))
    made.builder.leftovers.prune(everything=False)
    assert [left.kind for left in made.builder.leftovers.list() if left.kind != "regular"] == ["exec.cachemount"]

    said = Said()
    thread = threading.Thread(target=lambda: made.build(text.format("; echo on; sleep 2"), said=said))
    thread.start()
    while "on\n" not in said.text:
        time.sleep(0.02)
    made.builder.leftovers.prune(everything=True)
    assert [left.kind for left in made.builder.leftovers.list() if left.kind != "regular"] == ["exec.cachemount"]
    thread.join()
    made.builder.leftovers.prune(everything=True)

    assert [left for left in made.builder.leftovers.list() if left.kind != "regular"] == []


def test_prune_keeps_what_was_of_use_lately_and_as_many_bytes_as_wanted(made: Shop) -> None:
    made.builder.leftovers.prune(everything=True)
    before = time.time_ns()
    for number in range(3):
        made.build(f"FROM busybox\nRUN head -c 1000 /dev/zero > /z{number}\n")

    assert made.builder.leftovers.prune(everything=True, wanted=lambda left: left.used < before).ids == ()
    assert len(made.builder.leftovers.prune(everything=False, keep=2000).ids) == 1
