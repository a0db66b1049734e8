"""What clients are shown: times, states in words, names, ports, commands."""

from __future__ import annotations

import pytest

from declarative.engine.containers import moments, names
from declarative.engine.containers.config import Config, EndpointConfig
from declarative.engine.containers.container import Container, Health, State
from declarative.engine.containers.detach import DEFAULT, Detector, read_keys
from declarative.engine.containers.filters import Lookups, matcher, shows_all
from declarative.engine.containers.host import HostConfig
from declarative.engine.containers.index import Index
from declarative.engine.containers.life import Status
from declarative.engine.containers.network_view import port_list
from declarative.engine.containers.signals import number_of
from declarative.engine.containers.summary import command_text, status_text
from declarative.engine.networks.records import ContainerNetwork, Endpoint, PublishedPort
from declarative.errors import Conflict, Failed, Invalid, NotFound

_SECOND = 1_000_000_000
_MINUTE = 60 * _SECOND


def container(name: str = "web", number: int = 1, **state: object) -> Container:
    return Container(
        id=f"{number:064x}",
        name=name,
        created=number,
        image_id="sha256:" + "a" * 64,
        config=Config(labels={"k": "v"}, exposed_ports=("80/tcp", "99/udp"), image="busybox"),
        host=HostConfig(network_mode="bridge"),
        networks={"bridge": EndpointConfig()},
        points=(),
        state=State(**state),  # type: ignore[arg-type]
    )


def test_an_end_is_counted_once_and_a_restart_that_is_given_up_too() -> None:
    made = container(status=Status.RUNNING)
    steps: list[tuple[Status, int, int]] = [
        (Status.PAUSED, 0, 0),
        (Status.RUNNING, 0, 0),
        (Status.RESTARTING, 3, 1),
        (Status.RUNNING, 0, 1),
        (Status.RESTARTING, 4, 2),
        (Status.EXITED, 4, 3),
        (Status.REMOVING, 4, 3),
    ]
    for status, code, falls in steps:
        made.become(status=status, exit_code=code)
        assert made.falls == falls
    assert (made.fall_code, made.exits) == (4, 1)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (State(), "Created"),
        (State(status=Status.RUNNING, started=_MINUTE), "Up 2 minutes"),
        (State(status=Status.RUNNING, started=_MINUTE, health=Health()), "Up 2 minutes (health: starting)"),
        (State(status=Status.RUNNING, started=_MINUTE, health=Health(status="unhealthy")), "Up 2 minutes (unhealthy)"),
        (State(status=Status.PAUSED, started=_MINUTE), "Up 2 minutes (Paused)"),
        (
            State(status=Status.EXITED, started=1, finished=2 * _MINUTE, exit_code=137),
            "Exited (137) About a minute ago",
        ),
        (
            State(status=Status.RESTARTING, started=1, finished=3 * _MINUTE, exit_code=1),
            "Restarting (1) Less than a second ago",
        ),
        (State(status=Status.REMOVING), "Removal In Progress"),
        (State(status=Status.DEAD), "Dead"),
    ],
)
def test_states_in_words(state: State, words: str) -> None:
    assert status_text(state, 3 * _MINUTE) == words


def test_moments() -> None:
    assert moments.write(0) == "0001-01-01T00:00:00Z"
    assert moments.write(1_700_000_000_120_000_000) == "2023-11-14T22:13:20.12Z"
    assert moments.write(1_700_000_000_000_000_000) == "2023-11-14T22:13:20Z"
    assert moments.read_stamp("1700000000.5") == 1_700_000_000_500_000_000
    assert moments.read_stamp("") == 0
    with pytest.raises(Invalid, match=r'strconv\.ParseInt: parsing "x": invalid syntax'):
        moments.read_stamp("x")


def test_commands() -> None:
    assert command_text(("sh", "-c", "a b", "c")) == "sh -c 'a b' c"
    assert command_text(()) == ""


def test_signals() -> None:
    assert (number_of("SIGTERM"), number_of("term"), number_of("15"), number_of("RTMIN+3")) == (15, 15, 15, 37)
    for text in ("FOO", "0", ""):
        with pytest.raises(Invalid, match=f"invalid signal: {text}"):
            number_of(text)


def test_names() -> None:
    assert names.check("/web-1.x_y") == "web-1.x_y"
    for name in ("a", "a/b", "-a", "", "ä1", "a b"):
        with pytest.raises(Invalid, match="Invalid container name"):
            names.check(name)
    taken: set[str] = set()
    for count in range(400):
        made = names.make_up(lambda below, count=count: count * 7919 % below, taken.__contains__)  # type: ignore[misc]
        assert made not in taken
        assert names.check(made) == made
        taken.add(made)


def endpoint(container: Container) -> Endpoint:
    return Endpoint(id="e", network_id="abcdef", network_name="bridge", container_id=container.id, interface="eth0")


def test_ports_of_a_list() -> None:
    running = container(status=Status.RUNNING)
    found = ContainerNetwork(
        container_id=running.id,
        endpoints=(endpoint(running),),
        ports=(PublishedPort(port=80, protocol="tcp", host_address="0.0.0.0", host_port=8080),),  # noqa: S104 - shown
    )
    assert port_list(running, found) == [
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},  # noqa: S104 - shown
        {"PrivatePort": 99, "Type": "udp"},
    ]
    assert port_list(container(), found) == []
    assert port_list(running, ContainerNetwork(container_id=running.id)) == []


# ---- found and filtered


def test_found_by_name_id_and_beginning() -> None:
    first, second = container("one", 0xA1), container("two", 0xA2)
    index = Index([first, second])
    assert index.get("one") is index.get("/one") is index.get(first.id) is first
    with pytest.raises(Invalid, match="multiple IDs found with provided prefix"):
        index.get("0000")
    with pytest.raises(NotFound, match="No such container: three"):
        index.get("three")
    with pytest.raises(Conflict, match='The container name "/one" is already in use by container'):
        index.reserve("one", "other")
    index.remove(first)
    index.reserve("one", "other")


def matching(filters: dict[str, tuple[str, ...]], *containers: Container) -> set[str]:
    index = Index(containers)
    lookups = Lookups(
        container=index.get,
        descendants=lambda name: frozenset({"sha256:" + "a" * 64}) if name == "busybox" else frozenset(),
        network=lambda id_: ContainerNetwork(container_id=id_, endpoints=(endpoint(index.get(id_)),)),
        network_id=lambda name: {"bridge": "abcdef"}.get(name, ""),
    )
    test = matcher(filters, lookups)
    return {found.name for found in containers if test(found)}


def test_filters() -> None:
    up = container("up", 1, status=Status.RUNNING, started=1, health=Health(status="healthy"))
    down = container("down", 2, status=Status.EXITED, started=1, exit_code=3)
    assert matching({}, up, down) == {"up", "down"}
    assert matching({"status": ("running",)}, up, down) == {"up"}
    assert matching({"exited": ("3",)}, up, down) == {"down"}
    assert matching({"health": ("healthy", "none")}, up, down) == {"up", "down"}
    assert matching({"name": ("^u",), "label": ("k=v",)}, up, down) == {"up"}
    assert matching({"name": ("a(",)}, up, down) == set()
    assert matching({"label": ("k", "missing")}, up, down) == set()
    assert matching({"before": ("down",)}, up, down) == {"up"}
    assert matching({"since": ("up",)}, up, down) == {"down"}
    assert matching({"ancestor": ("busybox",)}, up, down) == {"up", "down"}
    assert matching({"network": ("abc",)}, up, down) == {"up", "down"}
    assert matching({"network": ("other",)}, up, down) == set()
    assert matching({"expose": ("90-100/udp",)}, up, down) == {"up"}
    assert matching({"volume": ("x",)}, up, down) == set()
    assert shows_all({"status": ("x",)})
    assert not shows_all({"label": ("x",)})


@pytest.mark.parametrize(
    ("filters", "error", "words"),
    [
        ({"foo": ("x",)}, Invalid, "invalid filter 'foo'"),
        ({"status": ("foo",)}, Invalid, "invalid filter 'status=foo'"),
        ({"health": ("foo",)}, Invalid, "unrecognized filter value for health: foo"),
        ({"exited": ("x",)}, Invalid, "invalid filter 'exited=x': strconv.Atoi: parsing \"x\": invalid syntax"),
        ({"before": ("nope",)}, NotFound, "No such container: nope"),
        (
            {"publish": ("x",)},
            Failed,
            'error while looking up for publish x: strconv.ParseUint: parsing "x": invalid syntax',
        ),
        ({"is-task": ("x",)}, Invalid, "invalid filter 'is-task=[x]'"),
    ],
)
def test_filters_that_are_none(filters: dict[str, tuple[str, ...]], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as raised:
        matching(filters)
    assert str(raised.value) == words


# ---- detach keys


def test_keys() -> None:
    assert read_keys("") == DEFAULT == (16, 17)
    assert read_keys("ctrl-x,a,ctrl-@") == (24, 97, 0)
    for text in ("bad-", "ctrl-", "ctrl-1", "ab", ",", "ctrl-ab"):
        with pytest.raises(Invalid, match="Invalid detach keys"):
            read_keys(text)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_the_sequence_is_found_however_it_comes(size: int) -> None:
    typed = b"ab\x10c\x10\x10\x11rest"
    detector, passed, over = Detector(DEFAULT), b"", False
    for start in range(0, len(typed), size):
        found, over = detector.feed(typed[start : start + size])
        passed += found
        if over:
            break
    assert over
    assert passed == b"ab\x10c\x10"
