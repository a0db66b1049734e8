"""What an apply leaves in the history, and what is made of it."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

import pytest

from declarative.apply.events import StepEnded, StepStarted
from declarative.apply.history import KEPT, forget_all, holds, pick, within
from declarative.apply.manifests import files_of, read_back
from declarative.apply.run import apply
from declarative.core.actions import WriteRevision
from declarative.core.plan import Policy
from declarative.core.planner.refusal import Refused
from declarative.drivers.memory import MemoryDriver
from declarative.drivers.memory.life import Program
from declarative.errors import Conflict, Failed, Invalid, NotFound
from declarative.manifest.load import LoadOptions, load_stack
from tests.unit.apply.world import HEAD, container, job

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from declarative.core.actions import Action
    from declarative.core.state import Revision
    from declarative.drivers.port import Progress
    from tests.unit.apply.world import World


def test_every_apply_that_changed_something_is_an_entry(world: World) -> None:
    world.apply(container("web"))
    world.apply(container("web"))
    world.apply(container("web", "sleep 9001"))
    first, second = world.driver.revisions("shop")

    assert (first.number, first.summary) == (1, "2 created")
    assert (second.number, second.summary) == (2, "1 replaced")
    assert set(second.objects) == {"Container/shop-web-1", "Network/shop_default"}


def test_a_failed_apply_is_none(world: World) -> None:
    world.apply(container("web", "false"))

    assert world.driver.revisions("shop") == ()


def test_a_rollout_that_went_back_is_no_restart_by_hand(world: World) -> None:
    world.apply(container("web"))
    world.engine.clock = lambda: time.monotonic() + 100  # entries are dated by the second
    assert not world.apply(container("web", "false")).done
    plan, _ = world.look(container("web"))

    assert plan.in_sync
    assert not plan.findings
    assert [revision.number for revision in world.driver.revisions("shop")] == [1]


def test_an_entry_that_a_crash_prevented_is_written_by_the_next_apply(world: World) -> None:
    def full(call: str) -> None:
        if call.startswith("before WriteRevision"):
            raise Failed("revision 1", "the engine's disk is full")

    world.engine.hook = full
    with pytest.raises(Failed):
        world.apply(container("web"))
    world.engine.hook = lambda _: None
    report = world.apply(container("web"))

    assert report.outcomes == ()
    assert report.revision == 1
    assert world.apply(container("web")).revision == 0


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch, world: World) -> list[tuple[str, WriteRevision]]:
    """Note what happens to entries: "prepared", "given up", "written"; "early" while steps are under way."""
    noted: list[tuple[str, WriteRevision]] = []
    execute = MemoryDriver.execute

    def note(what: str) -> Callable[[MemoryDriver, WriteRevision], None]:
        def noting(self: MemoryDriver, action: WriteRevision) -> None:
            del self
            ended = sum(isinstance(event, StepEnded) for event in world.events)
            begun = sum(isinstance(event, StepStarted) for event in world.events)
            noted.append((what + (" early" if ended < begun else ""), action))

        return noting

    def watched(self: MemoryDriver, action: Action, progress: Callable[[Progress], None]) -> None:
        if isinstance(action, WriteRevision):
            noted.append(("written", action))
        execute(self, action, progress)

    monkeypatch.setattr(MemoryDriver, "prepare", note("prepared"))
    monkeypatch.setattr(MemoryDriver, "give_up", note("given up"))
    monkeypatch.setattr(MemoryDriver, "execute", watched)
    return noted


def test_an_entry_is_prepared_while_the_last_containers_are_watched(
    world: World, prepared: list[tuple[str, WriteRevision]]
) -> None:
    world.engine.programs["shop-db-1"] = Program(healthy_after=0.6)
    world.apply(container("db", more="healthcheck: {test: [CMD, ok]}") + container("web"))
    (early, first), (then, second) = prepared

    assert (early, then) == ("prepared early", "written")
    assert first is second
    assert world.driver.revisions("shop")[0].summary == "3 created"


@pytest.mark.parametrize("call", ["before CreateContainer shop-web-1", "before StartContainer shop-web-1"])
def test_an_entry_is_prepared_while_what_is_new_is_made(
    world: World, prepared: list[tuple[str, WriteRevision]], call: str
) -> None:
    in_time = False

    def slow(made: str) -> None:
        nonlocal in_time
        if made == call:
            end = time.monotonic() + 5
            while not prepared and time.monotonic() < end:
                time.sleep(0.01)
            in_time = bool(prepared)

    world.engine.hook = slow
    world.apply(container("web"))

    assert in_time
    assert [what for what, _ in prepared] == ["prepared early", "written"]


def test_an_entry_is_not_prepared_before_what_was_there_has_started_again(
    world: World, prepared: list[tuple[str, WriteRevision]]
) -> None:
    world.apply(container("web"))
    del prepared[:]
    world.engine.stop("shop-web-1")
    early: list[str] | None = None

    def slow(call: str) -> None:
        nonlocal early
        if call == "before StartContainer shop-web-1":
            time.sleep(0.3)
            early = [what for what, _ in prepared]

    world.engine.hook = slow
    world.apply(container("web") + container("new"))

    assert early == []
    assert [what for what, _ in prepared] == ["prepared early", "written"]


def test_an_entry_that_was_prepared_for_nothing_is_given_up(
    world: World, prepared: list[tuple[str, WriteRevision]]
) -> None:
    world.engine.programs["shop-db-1"] = Program(healthy_after=None, unhealthy_after=0.6)
    world.apply(container("db", more="healthcheck: {test: [CMD, ok]}"))

    assert [what for what, _ in prepared] == ["prepared early", "given up"]
    assert prepared[0][1] is prepared[1][1]


def test_what_is_known_only_at_the_end_is_not_prepared(world: World, prepared: list[tuple[str, WriteRevision]]) -> None:
    world.apply(container("db") + container("web"), targets=frozenset({"Container/db"}))

    assert [what for what, _ in prepared] == ["written"]


def test_the_oldest_entries_go(world: World) -> None:
    for number in range(KEPT + 3):
        world.apply(container("web", f"sleep {9000 + number}"))

    assert [revision.number for revision in world.driver.revisions("shop")] == list(range(4, KEPT + 4))


def test_an_entry_brings_its_manifests_back(world: World, tmp_path: Path) -> None:
    text = container("web", "sleep 9000", more="environment: {A: '{{ values.a }}', B: 'x: {{ stack.name }}'}")
    stack = "apiVersion: declarative/v1\nkind: Stack\nmetadata: {name: shop}\nspec: {values: {a: 17}}\n"
    world.apply(stack + text)
    kept = world.driver.revision_files("shop", 1)
    loaded = read_back(kept, LoadOptions(working_folder=tmp_path, stack="another"))

    assert loaded.desired.stack == "shop"
    assert loaded.desired.containers["web"].spec == world.load(stack + text).desired.containers["web"].spec
    assert files_of(loaded) == kept


def test_a_secret_is_not_in_the_history(world: World, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2hunter2")
    world.apply(container("web", more="environment: {P: {secret: {file: password}}}"))

    assert "hunter2" not in repr(world.driver.revision_files("shop", 1))
    assert "hunter2" not in repr(world.driver.revisions("shop"))


def test_changes_in_place_are_remembered_until_the_container_is_made_anew(world: World) -> None:
    world.apply(container("web", more="restart: always") + container("db"))
    world.apply(container("web", more="restart: unless-stopped") + container("db"))
    (*_, after) = world.driver.revisions("shop")
    assert after.updates["shop-web-1"] == {"spec.restart": "unless-stopped"}

    world.apply(container("web", more="restart: unless-stopped") + container("db", "sleep 9001"))
    (*_, later) = world.driver.revisions("shop")
    assert later.updates["shop-web-1"] == {"spec.restart": "unless-stopped"}

    world.apply(container("web", "sleep 9001", more="restart: unless-stopped") + container("db", "sleep 9001"))
    (*_, last) = world.driver.revisions("shop")
    assert "shop-web-1" not in last.updates


def there(_: Revision) -> bool:
    """Say that a revision is what is there now."""
    return True


def test_going_back_means_the_one_before_the_last(world: World) -> None:
    for number in (9000, 9001, 9002):
        world.apply(container("web", f"sleep {number}"))

    assert pick(world.driver, "shop", None, there).number == 2
    assert pick(world.driver, "shop", None, lambda _: False).number == 3
    assert pick(world.driver, "shop", 1, there).number == 1
    with pytest.raises(NotFound, match="no revision 9"):
        pick(world.driver, "shop", 9, there)
    with pytest.raises(NotFound, match="nothing to go back to"):
        pick(world.driver, "other", None, there)


def test_going_back_passes_over_applies_that_only_mended_drift(world: World) -> None:
    for number in (9000, 9001):
        world.apply(container("web", f"sleep {number}") + container("db"))
    for name in ("shop-web-1", "shop-db-1"):
        world.engine.remove(name, volumes=False)
        assert world.apply(container("web", "sleep 9001") + container("db")).revision

    assert pick(world.driver, "shop", None, there).number == 1
    world.apply(container("web", "sleep 9000") + container("db"))
    assert pick(world.driver, "shop", None, there).number == 4


def test_where_all_applies_were_of_the_same_there_is_nothing_to_go_back_to(world: World) -> None:
    world.apply(container("web"))
    world.engine.remove("shop-web-1", volumes=False)
    world.apply(container("web"))

    with pytest.raises(NotFound, match="no other apply, so there is nothing to go back to"):
        pick(world.driver, "shop", None, there)


def test_a_whole_history_can_be_forgotten(world: World) -> None:
    world.apply(container("web"))

    assert forget_all(world.driver, "shop") == 1
    assert world.driver.revisions("shop") == ()


@pytest.mark.parametrize(
    "files", [{}, {"index.json": "{"}, {"index.json": "[]"}, {"index.json": '{"files": {"a": {}}}'}]
)
def test_what_is_not_ours_is_refused(files: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="not in our form"):
        read_back(files, LoadOptions(working_folder=tmp_path))


def test_targets_claim_only_what_is_there(world: World) -> None:
    text = container("web") + container("db")
    world.apply(text, targets=frozenset({"Container/web"}))
    (revision,) = world.driver.revisions("shop")

    assert "Container/shop-web-1" in revision.objects
    assert "Container/shop-db-1" not in revision.objects
    world.apply(text)
    assert "Container/shop-db-1" in world.driver.revisions("shop")[-1].objects


WEB = frozenset({"Container/web"})


def image(version: str) -> str:
    """Write an Image that is built, and a TagScheme for it."""
    built = f'{{build: {{context: ., dockerfile_inline: "FROM busybox\\nLABEL v={version}\\n"}}, tags: [edge]}}'
    scheme = f"---\n{HEAD}kind: TagScheme\nmetadata: {{name: release}}\nspec: {{image: app, version: {version}}}\n"
    return f"---\n{HEAD}kind: Image\nmetadata: {{name: app}}\nspec: {built}\n{scheme}"


def test_a_job_that_targets_left_out_is_not_claimed_to_have_run(world: World) -> None:
    world.apply(container("web") + job("mig", "true"))
    ran = world.driver.revisions("shop")[0].objects["Job/shop-mig-1"]
    changed = container("web", "sleep 9001") + job("mig", "echo second")
    world.apply(changed, targets=WEB)
    assert world.driver.revisions("shop")[-1].objects["Job/shop-mig-1"] == ran
    world.engine.remove("shop-mig-1", volumes=True)  # docker container prune
    (step,) = world.look(changed)[0].steps
    assert (step.label, step.cause) == ("Job/shop-mig-1", "spec or image changed")

    world.apply(changed)
    assert world.command("shop-mig-1") == ("echo", "second")


def test_a_job_that_never_ran_is_not_claimed_at_all(world: World) -> None:
    world.apply(container("web") + job("mig", "true"), targets=WEB)

    assert "Job/shop-mig-1" not in world.driver.revisions("shop")[-1].objects


def test_tags_and_versions_that_targets_left_out_stay_what_they_were(world: World) -> None:
    world.apply(container("web") + image("1.0.0"))
    first = world.driver.revisions("shop")[-1].objects
    world.apply(container("web", "sleep 9001") + image("1.1.0"), targets=WEB)
    second = world.driver.revisions("shop")[-1].objects

    moving = {name: content for name, content in first.items() if content and not name.endswith((":1.0", ":1.0.0"))}
    assert moving.keys() == {"Image/app", "Tag/shop/app:edge", "Version/shop/app:1", "Version/shop/app:latest"}
    assert moving.items() <= second.items()
    assert "Version/shop/app:1.1.0" not in second
    assert not world.look(container("web", "sleep 9001") + image("1.0.0"))[0].drifted


def test_a_name_that_left_the_manifests_is_still_taken_back_after_an_apply_of_targets(world: World) -> None:
    world.apply(container("web") + image("1.0.0"))
    renamed = container("web", "sleep 9001") + image("1.0.0").replace("edge", "next")
    world.apply(renamed, targets=WEB)
    world.apply(renamed)

    assert "shop/app:next" in world.engine.references
    assert "shop/app:edge" not in world.engine.references


def test_a_change_in_place_that_targets_left_out_is_not_claimed(world: World) -> None:
    world.apply(container("web") + container("db", more="restart: always"))
    changed = container("web", "sleep 9001") + container("db", more="restart: unless-stopped")
    world.apply(changed, targets=WEB)

    assert world.driver.revisions("shop")[-1].updates == {}
    assert [step.origin for step in world.look(changed)[0].steps] == ["change"]


def test_going_back_passes_over_what_was_applied_to_targets_alone(world: World) -> None:
    world.apply(container("web") + container("db"))
    world.apply(container("web", "sleep 9001") + container("db", "sleep 9001"), targets=WEB)
    assert pick(world.driver, "shop", None, lambda _: False).number == 1
    world.apply(container("web", "sleep 9002") + container("db", "sleep 9002"))

    assert [revision.targets for revision in world.driver.revisions("shop")] == [frozenset(), WEB, frozenset()]
    assert pick(world.driver, "shop", None, there).number == 1


def test_of_what_was_applied_to_targets_alone_nothing_else_is_brought_back(world: World) -> None:
    world.apply(container("web") + container("db"), targets=WEB)
    revision = pick(world.driver, "shop", 1, there)

    assert within(Policy(), revision).targets == WEB
    with pytest.raises(Conflict, match="only Container/web was applied"):
        within(Policy(targets=frozenset({"Container/db"})), revision)


def test_a_target_that_left_the_manifests_is_removed_and_that_is_an_entry(world: World) -> None:
    world.apply(container("a") + container("old"))
    old = frozenset({"Container/old"})
    report = world.apply(container("a"), targets=old)

    assert (report.exit_code, report.revision, world.names()) == (0, 2, ["shop-a-1"])
    assert set(world.driver.revisions("shop")[-1].objects) == {"Container/shop-a-1", "Network/shop_default"}
    with pytest.raises(Refused, match="no such resource to target"):
        world.apply(container("a"), targets=old)


def test_a_whole_apply_that_finds_all_done_by_targets_is_an_entry(world: World) -> None:
    text = container("web")
    world.apply(text, targets=WEB)
    assert world.apply(text).revision == 2
    assert world.apply(text).revision == 0

    assert [revision.targets for revision in world.driver.revisions("shop")] == [WEB, frozenset()]


def test_what_follows_a_container_that_was_removed_by_hand_is_no_change_of_ours(world: World) -> None:
    text = container("web") + container("side", more="network_mode: 'container:web'")
    world.apply(text)
    world.engine.remove("shop-web-1", volumes=True)
    plan, _ = world.look(text)

    assert [(step.verb, step.origin) for step in plan.steps if step.verb != "wait"] == [
        ("create", "drift"),
        ("replace", "drift"),
    ]
    assert holds(plan)


def apply_other(world: World, text: str) -> None:
    """Apply manifests as the stack `other`."""
    options = LoadOptions(working_folder=world.folder, stack="other", stdin=io.BytesIO(text.encode()))
    assert apply(load_stack(["-"], options).desired, world.driver, world.options()).done


def test_what_is_somebody_elses_is_not_claimed_by_an_apply_of_targets(world: World) -> None:
    world.apply(container("a"))
    apply_other(world, container("b", more="container_name: shop-b-1"))
    changed = container("a", "sleep 9001") + container("b")
    world.apply(changed, targets=frozenset({"Container/a"}))
    assert "Container/shop-b-1" not in world.driver.revisions("shop")[-1].objects
    world.engine.remove("shop-b-1", volumes=True)

    assert not world.look(changed)[0].drifted


@pytest.mark.parametrize(
    ("document", "name"),
    [
        ("kind: Network\nmetadata: {name: x}\nspec: {name: theirs}", "Network/theirs"),
        ("kind: Volume\nmetadata: {name: x}\nspec: {name: theirs}", "Volume/theirs"),
        (job("x", "true", more="container_name: theirs").removeprefix("---\n" + HEAD), "Job/theirs"),
    ],
)
def test_neither_are_networks_volumes_and_jobs_of_others(world: World, document: str, name: str) -> None:
    apply_other(world, f"---\n{HEAD}{document}\n")
    world.apply(f"{container('web')}---\n{HEAD}{document}\n", targets=WEB)

    assert name not in world.driver.revisions("shop")[-1].objects


def test_versions_of_a_scheme_that_targets_left_with_its_problem_stay_what_they_were(world: World) -> None:
    world.apply(container("web") + image("1.0.0"))
    first = world.driver.revisions("shop")[-1].objects
    refused = image("1.0.0").replace("LABEL v=", "LABEL w=")
    with pytest.raises(Refused, match="published already, with other content"):
        world.apply(refused + container("web", "sleep 9001"))
    world.apply(container("web", "sleep 9001") + refused, targets=WEB)
    second = world.driver.revisions("shop")[-1].objects

    assert second["Container/shop-web-1"] == ""
    versions = {name: content for name, content in first.items() if name.startswith("Version/")}
    assert versions
    assert versions.items() <= second.items()
