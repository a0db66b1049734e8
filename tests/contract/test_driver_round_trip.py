"""What `CreateContainer` made, `snapshot` reads back as the same spec, once the defaults of engine and image are taken out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from declarative.core import actions as do
from declarative.core import canonical, defaults
from declarative.core.resources import (
    Attachment,
    ContainerSpec,
    Healthcheck,
    Logging,
    Mount,
    NetworkSpec,
    Port,
    Resources,
    VolumeSpec,
)
from declarative.errors import Invalid
from declarative.record import replace
from tests.contract.bench import container

if TYPE_CHECKING:
    from tests.contract.bench import Bench

_SECOND = 1_000_000_000
_FULL_IMAGE = """\
FROM busybox
ENV A=image B=image
LABEL who=image what=image
VOLUME /state /cache
EXPOSE 80 53/udp
USER nobody
WORKDIR /tmp
STOPSIGNAL SIGQUIT
CMD ["sleep", "77"]
"""

_SPECS: dict[str, ContainerSpec] = {
    "nothing": container(command=None, stop_grace_period=None),
    "command": container(command=("sleep", "5 5", "$X")),
    "entrypoint": container(entrypoint=("sleep",), command=("7",)),
    "entrypoint alone": container(entrypoint=("sleep", "9"), command=None),
    "no entrypoint": container(entrypoint=(), command=("sleep", "9")),
    "environment": container(environment={"A": "1", "EMPTY": "", "SPACE": "a b=c", "LINES": "a\nb", "Ü": "ü"}),
    "ports": container(
        ports=(
            Port(target=53, protocol="udp", published=20053),
            Port(target=80),
            Port(target=80, published=20080),
            Port(target=81, host_ip="0.0.0.0"),  # noqa: S104 - of a container's port
            Port(target=82, published=20082, host_ip="0.0.0.0"),  # noqa: S104
            Port(target=443, published=20443, host_ip="127.0.0.1"),
        )
    ),
    "expose": container(expose=("53/udp", "80/tcp"), ports=(Port(target=80, published=20081),)),
    "anonymous volume": container(volumes=(Mount(target="/an"),)),
    "binds": container(
        volumes=(
            Mount(target="/a", type="bind", source="/tmp"),  # noqa: S108 - exists on every host
            Mount(target="/b", type="bind", source="/tmp", read_only=True, propagation="rslave"),  # noqa: S108
            Mount(target="/c", type="bind", source="/tmp/ct-made", create_host_path=True),  # noqa: S108
            Mount(target="/d", type="bind", source="/tmp", read_only=True, create_host_path=True),  # noqa: S108
        )
    ),
    "tmpfs mount": container(volumes=(Mount(target="/t", type="tmpfs", size=1 << 20, mode=0o700),)),
    "plain tmpfs mount": container(volumes=(Mount(target="/t", type="tmpfs"),)),
    "tmpfs": container(tmpfs={"/run": "size=64k", "/var/tmp": ""}),  # noqa: S108 - a path inside
    "healthcheck": container(
        healthcheck=Healthcheck(test=("CMD-SHELL", "true"), interval=5 * _SECOND, timeout=_SECOND, retries=2)
    ),
    "healthcheck start period": container(healthcheck=Healthcheck(test=("CMD", "true"), start_period=9 * _SECOND)),
    "no healthcheck": container(healthcheck=Healthcheck(test=("NONE",))),
    "restart always": container(restart="always"),
    "restart on failure": container(restart="on-failure"),
    "restart on failure counted": container(restart="on-failure:3"),
    "restart unless stopped": container(restart="unless-stopped"),
    "restart no": container(restart="no"),
    "labels": container(labels={"a": "1", "b.c/d": "", "quoted": '"x" $y \\z'}),
    "user and directory": container(user="65534:65534", working_dir="/tmp/sub"),  # noqa: S108 - a path inside
    "host names": container(hostname="web", domainname="example.test"),
    "dns and hosts": container(dns=("9.9.9.9", "1.1.1.1"), extra_hosts=("a:10.0.0.1", "b:10.0.0.2")),
    "capabilities": container(cap_add=("CHOWN", "NET_BIND_SERVICE"), cap_drop=("ALL",)),
    "privileged": container(privileged=True),
    "read only": container(read_only=True),
    "shm size": container(shm_size=32 << 20),
    "ulimits": container(ulimits={"nofile": (512, 1024), "nproc": (64, 64)}),
    "sysctls": container(sysctls={"net.ipv4.ip_unprivileged_port_start": "0"}),
    "devices": container(devices=("/dev/null:/dev/nothing:rw", "/dev/zero:/dev/zero:rwm")),
    "security": container(security_opt=("no-new-privileges", "seccomp=unconfined")),
    "namespaces of the host": container(pid="host", ipc="host"),
    "shareable ipc": container(ipc="shareable"),
    "init": container(init=True),
    "terminal": container(tty=True, stdin_open=True),
    "stopping": container(stop_signal="SIGUSR1", stop_grace_period=7 * _SECOND),
    "logging": container(logging=Logging(driver="json-file", options={"max-size": "1m", "max-file": "2"})),
    "no logging": container(logging=Logging(driver="none")),
    "memory": container(resources=Resources(memory=64 << 20)),
    "memory and swap": container(resources=Resources(memory=64 << 20, memory_swap=96 << 20)),
    "memory reservation": container(resources=Resources(memory=64 << 20, memory_reservation=32 << 20)),
    "unlimited swap": container(resources=Resources(memory=64 << 20, memory_swap=-1)),
    "cpus": container(resources=Resources(cpus=250_000_000, cpu_shares=512, cpuset="0")),
    "pids": container(resources=Resources(pids=100)),
    "unlimited pids": container(resources=Resources(pids=-1)),
    "network host": container(network_mode="host"),
    "network none": container(network_mode="none"),
    "network bridge": container(network_mode="bridge"),
    "false and empty": container(
        privileged=False, read_only=False, tty=False, stdin_open=False, init=False, user="", working_dir="", hostname=""
    ),
}


def differences(bench: Bench, spec: ContainerSpec, name: str) -> dict[str, tuple[object, object]]:
    """Compare what was asked for with what is seen; files cannot be seen."""
    flat = canonical.container(spec)
    actual = bench.look(references=frozenset({spec.image.reference}))
    state = actual.containers[name]
    assert state.applied is not None
    want = defaults.effective(flat, actual.images[state.image_id].config)
    got = defaults.observed(canonical.container(state.spec), (flat, state.applied))
    paths = {path for path in {*want, *got} if not path.startswith("spec.files.")}
    return {
        path: (want.get(path), got.get(path))
        for path in sorted(paths)
        if not canonical.same(want.get(path), got.get(path))
    }


@pytest.mark.parametrize("spec", _SPECS.values(), ids=_SPECS.keys())
def test_each_field_is_read_back_as_it_was_asked_for(bench: Bench, spec: ContainerSpec) -> None:
    assert differences(bench, spec, bench.create(spec)) == {}


def test_an_anonymous_volume_cannot_be_read_only(bench: Bench) -> None:
    with pytest.raises(Invalid) as caught:
        bench.create(container(volumes=(Mount(target="/an", read_only=True),)))
    assert bench.name() in str(caught.value)


def test_over_an_image_that_states_everything(bench: Bench) -> None:
    image = bench.build(_FULL_IMAGE)
    specs = [
        container(command=None, stop_grace_period=None),
        container(environment={"A": "mine", "C": "mine"}, labels={"who": "me", "c": "mine"}, command=("sleep", "1")),
        container(entrypoint=("sleep", "3"), command=None),
        container(user="root", working_dir="/", stop_signal="SIGTERM", expose=("81/tcp",)),
        container(volumes=(Mount(target="/state"), Mount(target="/other"))),
        container(volumes=(Mount(target="/state", type="tmpfs"),), tmpfs={"/cache": ""}),
        container(ports=(Port(target=9, published=20009), Port(target=80, published=20082))),
    ]
    for number, spec in enumerate(specs):
        whole = replace(spec, image=replace(spec.image, reference=image))
        name = bench.create(whole, of=f"c{number}")
        assert differences(bench, whole, name) == {}, f"spec {number}"


def test_networks_volumes_and_shared_namespaces(bench: Bench) -> None:
    back = bench.network("back", NetworkSpec(subnet="10.251.7.0/24"))
    front, data = bench.network("front"), bench.volume()
    spec = container(
        networks={front: Attachment(aliases=("web", "w")), back: Attachment(ipv4_address="10.251.7.9")},
        volumes=(Mount(target="/data", source=data, nocopy=True), Mount(target="/ro", source=data, read_only=True)),
        hostname="web",
    )
    name = bench.start(spec)
    assert differences(bench, spec, name) == {}
    beside = container(network_mode=f"container:{name}", pid=f"container:{name}")
    other = bench.start(beside, of="beside")
    assert differences(bench, beside, other) == {}


def test_an_alias_that_is_the_host_name_stays(bench: Bench) -> None:
    network = bench.network()
    spec = container(networks={network: Attachment(aliases=("web",))}, hostname="web")
    assert differences(bench, spec, bench.start(spec)) == {}


def test_after_it_was_started_and_stopped(bench: Bench) -> None:
    network, data = bench.network(), bench.volume()
    spec = container(
        command=("sleep", "1000"),
        networks={network: Attachment(aliases=("web",))},
        volumes=(Mount(target="/data", source=data), Mount(target="/an")),
        ports=(Port(target=80),),
        environment={"A": "1"},
        tmpfs={"/run": ""},
        init=True,
        restart="always",
        resources=Resources(memory=64 << 20, cpus=500_000_000),
        healthcheck=Healthcheck(test=("CMD", "true")),
    )
    name = bench.start(spec)
    assert differences(bench, spec, name) == {}
    bench.do(do.StopContainer(name=name))
    assert differences(bench, spec, name) == {}


_NETWORKS = {
    "plain": NetworkSpec(),
    "addresses": NetworkSpec(subnet="10.251.8.0/24", gateway="10.251.8.9", ip_range="10.251.8.128/25"),
    "internal": NetworkSpec(internal=True, labels={"a": "b"}),
    "options": NetworkSpec(driver="bridge", options={"com.docker.network.bridge.enable_icc": "false"}),
    "ipv6": NetworkSpec(ipv6=True, subnet="fd00:251::/64"),
}


@pytest.mark.parametrize("spec", _NETWORKS.values(), ids=_NETWORKS.keys())
def test_networks_are_read_back(bench: Bench, spec: NetworkSpec) -> None:
    name = bench.network("n", spec)
    seen = canonical.network(bench.look().networks[name].spec)
    stated = canonical.network(spec)
    assert {path: seen.get(path) for path in stated} == stated


def test_volumes_are_read_back(bench: Bench) -> None:
    spec = VolumeSpec(driver="local", options={"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}, labels={"a": "b"})
    name = bench.volume("v", spec)
    state = bench.look().volumes[name]
    assert canonical.volume(state.spec) == canonical.volume(spec)
    assert state.owner == bench.owner("Volume", "v")
    assert state.applied == canonical.volume(spec)
