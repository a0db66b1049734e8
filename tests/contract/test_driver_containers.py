"""The port's promises about containers: what is created, started, stopped, changed, renamed, removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from declarative.core import actions as do
from declarative.core import canonical
from declarative.core.resources import Attachment, FileEntry, Mount, Port, Resources
from declarative.core.secret import Secret
from declarative.core.state import Scope
from declarative.errors import Conflict, DeclarativeError, NotFound
from tests.contract.bench import container
from tests.registry_server import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.drivers.port import Observed
    from tests.contract.bench import Bench


def test_what_is_created_is_there_owned_and_not_started(bench: Bench) -> None:
    name = bench.create()
    state = bench.look().containers[name]
    assert state.state == "created"
    assert state.owner == bench.owner()
    assert state.applied == canonical.container(container())


def test_creating_the_same_again_succeeds_and_changes_nothing(bench: Bench) -> None:
    name = bench.create()
    before = bench.see(name).id
    bench.create()
    assert bench.see(name).id == before


def test_creating_with_files_again_succeeds(bench: Bench) -> None:
    spec = container(files=(FileEntry(target="/etc/app.conf", content=b"a"),))
    before = bench.see(bench.create(spec)).id
    assert bench.see(bench.create(spec)).id == before


def test_creating_over_another_spec_is_a_conflict_that_names_the_container(bench: Bench) -> None:
    name = bench.create()
    with pytest.raises(Conflict) as caught:
        bench.create(container(user="nobody"))
    assert name in str(caught.value)


@pytest.mark.parametrize("files", [(), (FileEntry(target="/etc/app.conf", content=b"a"),)])
def test_creating_over_a_foreign_container_is_a_conflict(bench: Bench, files: tuple[FileEntry, ...]) -> None:
    name = bench.name()
    bench.hand.run(name)
    before = bench.see(name)
    with pytest.raises(Conflict):
        bench.create(container(files=files))
    assert bench.see(name).id == before.id
    assert bench.see(name).owner is None


def test_a_foreign_container_is_a_stranger_with_its_ports(bench: Bench) -> None:
    name, port = bench.name("other"), free_port()
    bench.hand.run(name, port=port)
    stranger = next(stranger for stranger in bench.look().strangers if stranger.name == name)
    assert stranger.running
    assert {(number, protocol) for _, number, protocol in stranger.ports} == {(port, "tcp")}
    assert name not in bench.look().containers
    assert bench.look(containers=frozenset({name})).containers[name].owner is None


def test_creating_from_a_missing_image_is_not_found(bench: Bench) -> None:
    with pytest.raises(NotFound):
        bench.create(container(image="no-such-image:1"))


def test_start_stop_and_start_again(bench: Bench) -> None:
    name = bench.start()
    bench.do(do.StartContainer(name=name))
    assert bench.see(name).state == "running"
    bench.do(do.StopContainer(name=name))
    bench.do(do.StopContainer(name=name))
    assert bench.see(name).state == "exited"
    bench.do(do.RestartContainer(name=name))
    assert bench.see(name).state == "running"


def test_starting_unpauses(bench: Bench) -> None:
    name = bench.start()
    bench.hand.pause(name)
    assert bench.see(name).state == "paused"
    bench.do(do.StartContainer(name=name))
    assert bench.see(name).state == "running"
    bench.hand.pause(name)
    bench.do(do.StopContainer(name=name))
    assert bench.see(name).state == "exited"


@pytest.mark.parametrize("verb", [do.StartContainer, do.RestartContainer])
def test_what_is_not_there_cannot_be_started(bench: Bench, verb: type[do.StartContainer]) -> None:
    with pytest.raises(NotFound) as caught:
        bench.do(verb(name=bench.name()))
    assert bench.name() in str(caught.value)


def test_stopping_is_done_where_nothing_runs_or_is(bench: Bench) -> None:
    bench.do(do.StopContainer(name=bench.name()))
    name = bench.start()
    for _ in range(2):
        bench.do(do.StopContainer(name=name))
    assert bench.see(name).state == "exited"


def test_a_taken_port_is_a_conflict_that_names_the_port(bench: Bench) -> None:
    port = free_port()
    bench.hand.run(bench.name("other"), port=port)
    name = bench.create(container(ports=(Port(target=80, published=port),)))
    with pytest.raises(Conflict) as caught:
        bench.do(do.StartContainer(name=name))
    assert str(port) in str(caught.value)
    assert name in str(caught.value)


def test_removing_is_done_when_it_is_gone(bench: Bench) -> None:
    name = bench.start()
    bench.do(do.RemoveContainer(name=name))
    bench.do(do.RemoveContainer(name=name))
    assert bench.look().containers == {}
    assert bench.driver.observe(bench.stack, [name]) == {}


def test_renaming_hands_a_name_over_and_is_safe_to_send_again(bench: Bench) -> None:
    name = bench.start()
    action = do.RenameContainer(name=name, to=f"{name}.old")
    before = bench.see(name).id
    bench.do(action)
    bench.do(action)
    assert bench.see(f"{name}.old").id == before
    assert name not in bench.look().containers


def test_renaming_onto_a_taken_name_is_a_conflict(bench: Bench) -> None:
    one, other = bench.create(), bench.create(of="other")
    with pytest.raises(Conflict):
        bench.do(do.RenameContainer(name=one, to=other))
    with pytest.raises(NotFound):
        bench.do(do.RenameContainer(name=bench.name("none"), to=bench.name("nowhere")))


def test_limits_and_restart_policy_change_in_place(bench: Bench) -> None:
    name = bench.start(container(resources=Resources(memory=32 << 20)))
    before = bench.see(name)
    asked = Resources(memory=64 << 20, cpus=500_000_000, pids=50)
    bench.do(do.UpdateContainer(name=name, resources=asked, restart="on-failure:2"))
    after = bench.see(name)
    assert (after.id, after.started) == (before.id, before.started)
    assert after.spec.restart == "on-failure:2"
    limits = after.spec.resources
    assert (limits.memory, limits.cpus, limits.pids) == (64 << 20, 500_000_000, 50)
    assert limits.memory_swap in {None, 128 << 20}


def test_anonymous_volumes_go_with_their_container_and_named_ones_stay(bench: Bench) -> None:
    volume = bench.volume()
    mounts = (Mount(target="/an"), Mount(target="/data", source=volume))
    name = bench.start(container(volumes=mounts))
    anonymous = bench.hand.anonymous(name)
    assert set(anonymous) == {"/an"}
    bench.do(do.RemoveContainer(name=name, volumes=True))
    assert not set(anonymous.values()) & bench.hand.volumes()
    assert volume in bench.hand.volumes()


def test_without_volumes_a_removal_keeps_the_anonymous_ones(bench: Bench) -> None:
    name = bench.start(container(volumes=(Mount(target="/an"),)))
    anonymous = bench.hand.anonymous(name)
    bench.do(do.RemoveContainer(name=name))
    assert set(anonymous.values()) <= bench.hand.volumes()
    _remove_volumes(bench, anonymous)


def test_a_successor_takes_anonymous_volumes_over_with_their_data(bench: Bench) -> None:
    mounts = (Mount(target="/an"),)
    old = bench.start(container(volumes=mounts), name=bench.name() + ".old")
    before = bench.hand.anonymous(old)
    data = bench.hand.data(before["/an"])
    bench.do(do.StopContainer(name=old))
    new = bench.start(container(volumes=(*mounts, Mount(target="/more"))), inherit=old)
    bench.do(do.RemoveContainer(name=old, volumes=True))
    after = bench.hand.anonymous(new)
    assert after["/an"] == before["/an"]
    assert bench.hand.data(after["/an"]) == data
    assert {(mount.target, mount.source) for mount in bench.see(new).spec.volumes} == {("/an", ""), ("/more", "")}
    bench.do(do.RemoveContainer(name=new, volumes=True))
    assert not set(after.values()) & bench.hand.volumes()


def test_volumes_of_the_image_are_taken_over_too(bench: Bench) -> None:
    image = bench.build("FROM busybox\nVOLUME /state\n")
    old = bench.start(container(image=image), name=bench.name() + ".old")
    new = bench.create(container(image=image, user="nobody"), inherit=old)
    assert bench.hand.anonymous(new) == bench.hand.anonymous(old) != {}


def test_networks_are_attached_reattached_and_detached_in_place(bench: Bench) -> None:
    one, two = bench.network("one"), bench.network("two")
    name = bench.start(container(networks={one: Attachment(aliases=("web",))}))
    before = bench.see(name)
    for aliases in (("b", "a"), ("b", "a"), ("c",)):
        bench.do(do.ConnectNetwork(container=name, network=two, attachment=Attachment(aliases=aliases)))
    after = bench.see(name)
    assert after.spec.networks == {one: Attachment(aliases=("web",)), two: Attachment(aliases=("c",))}
    assert after.started == before.started
    assert name in bench.look().networks[two].attached
    for _ in range(2):
        bench.do(do.DisconnectNetwork(container=name, network=one))
    assert set(bench.see(name).spec.networks) == {two}


def test_secrets_reach_the_container_and_no_label(bench: Bench) -> None:
    spec = container(environment={"TOKEN": Secret("hush-hush")})
    name = bench.create(spec)
    state = bench.see(name)
    assert state.spec.environment["TOKEN"] == "hush-hush"
    assert state.applied is not None
    sealed = state.applied["spec.environment.TOKEN"]
    assert "hush-hush" not in repr(state.applied)
    assert sealed.holds("hush-hush")
    assert not sealed.holds("hush")


def test_two_objects_with_the_same_secret_have_different_labels(real_bench: Bench) -> None:
    spec = container(environment={"TOKEN": Secret("hush-hush")})
    one, other = (real_bench.see(real_bench.create(spec, of=of)).applied for of in ("one", "other"))
    assert one is not None
    assert other is not None
    assert one["spec.environment.TOKEN"] != other["spec.environment.TOKEN"]


def test_observe_tells_what_the_snapshot_tells(bench: Bench) -> None:
    running, ended = bench.start(), bench.start(container(command=("sh", "-c", "exit 3")), of="ended")
    names = [running, ended, bench.name("none")]
    seen = _until_exited(bench, ended, names)
    assert set(seen) == {running, ended}
    assert seen[running].state == "running"
    assert (seen[ended].state, seen[ended].exit_code) == ("exited", 3)
    state = bench.look().containers[running]
    assert (state.started, state.restarts) == (seen[running].started, seen[running].restarts)


def test_stacks_names_whoever_owns_something(bench: Bench) -> None:
    assert bench.stack not in bench.driver.stacks()
    bench.volume()
    assert bench.stack in bench.driver.stacks()


def test_a_container_is_of_its_stack_alone(bench: Bench) -> None:
    name = bench.create()
    other = bench.driver.snapshot(Scope(stack=bench.stack + "x"))
    assert name not in other.containers
    assert next(found for found in other.strangers if found.name == name).stack == bench.stack


def test_a_container_of_our_image_is_not_ours_for_its_inherited_labels(bench: Bench) -> None:
    image = bench.build("FROM busybox\n")
    assert bench.engine is not None or bench.memory is not None
    name = bench.name("foreign")
    if bench.engine is not None:
        bench.engine.docker("create", "--name", name, image, "true")
    elif bench.memory is not None:
        bench.memory.create(name, container(image=image), {}, None, None)
    assert name not in bench.look().containers
    assert bench.see(name).owner is None


def test_a_container_of_an_image_that_was_committed_of_ours_is_not_ours(real_bench: Bench) -> None:
    assert real_bench.engine is not None
    ours = real_bench.start()
    real_bench.engine.docker("commit", ours, f"{real_bench.stack}-copy")
    name = real_bench.name("debug")
    real_bench.engine.docker("run", "-d", "-p", "18099:80", "--name", name, f"{real_bench.stack}-copy", "sleep", "60")
    actual = real_bench.look()
    assert set(actual.containers) == {ours}
    asked = real_bench.driver.snapshot(Scope(stack=real_bench.stack, containers=frozenset({name})))
    assert asked.containers[name].owner is None
    (stranger,) = [found for found in actual.strangers if found.name == name]
    assert (stranger.running, stranger.stack) == (True, "")
    assert ("0.0.0.0", 18099, "tcp") in stranger.ports  # noqa: S104  # an address compared, not bound
    real_bench.engine.docker("rm", "-f", name)
    own = real_bench.create(container(image=f"{real_bench.stack}-copy"), of="second")
    assert set(real_bench.look().containers) == {ours, own}


@pytest.mark.parametrize("files", [(FileEntry(target="/etc/app.conf", content=b"a"),)])
def test_a_foreign_container_under_the_name_for_half_made_ones_stays(
    real_bench: Bench, files: tuple[FileEntry, ...]
) -> None:
    foreign = real_bench.name() + ".making"
    real_bench.hand.run(foreign)
    for read_only in (False, True):
        with pytest.raises(Conflict, match="which it needs while it is made"):
            real_bench.create(container(files=files, read_only=read_only))
        assert real_bench.see(foreign).state == "running"
    assert real_bench.look().containers == {}


def test_an_error_leaves_no_half_made_container(real_bench: Bench) -> None:
    spec = container(
        networks={"no-such-network": Attachment(), "nor-this": Attachment()},
        files=(FileEntry(target="/a", content=b""),),
    )
    try:
        real_bench.create(spec)
    except DeclarativeError:
        assert real_bench.look().containers == {}
        assert real_bench.look().leftovers == ()


def _until_exited(bench: Bench, name: str, names: list[str]) -> Mapping[str, Observed]:
    from tests.engines import wait_until

    wait_until(lambda: bench.driver.observe(bench.stack, names)[name].state == "exited", f"{name} to exit", 10)
    return bench.driver.observe(bench.stack, names)


def _remove_volumes(bench: Bench, anonymous: dict[str, str]) -> None:
    for volume in anonymous.values():
        bench.do(do.RemoveVolume(name=volume))
