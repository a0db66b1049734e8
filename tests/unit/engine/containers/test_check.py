"""Configurations that are refused, in dockerd's own words (26.1's, taken down from it)."""

from __future__ import annotations

from typing import Any

import pytest

from declarative.engine.containers.check import check_config, check_host, check_networking, read_link
from declarative.engine.containers.check_limits import check_limits
from declarative.engine.containers.config import Config, NetworkingConfig
from declarative.engine.containers.host import HostConfig
from declarative.engine.containers.machine import Machine
from declarative.engine.containers.shapes import read
from declarative.errors import Invalid

MACHINE = Machine(cpus="0-1", cpu_count=2, memory_nodes="0")
_RESTARTS = "use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
_UNDEFINED = "This would result in undefined behavior"

LIMITS = [
    ({"Memory": 1000}, "Minimum memory limit allowed is 6MB"),
    ({"MemorySwap": 6291456}, "You should always set the Memory limit when using Memoryswap limit, see usage"),
    (
        {"Memory": 16777216, "MemorySwap": 8388608},
        "Minimum memoryswap limit should be larger than memory limit, see usage",
    ),
    ({"MemoryReservation": 100}, "Minimum memory reservation allowed is 6MB"),
    (
        {"Memory": 8388608, "MemoryReservation": 16777216},
        "Minimum memory limit can not be less than memory reservation limit, see usage",
    ),
    ({"MemorySwappiness": 101}, "Invalid value: 101, valid memory swappiness range is 0-100"),
    ({"NanoCpus": 10**9, "CpuPeriod": 1000}, "Conflicting options: Nano CPUs and CPU Period cannot both be set"),
    ({"NanoCpus": 10**9, "CpuQuota": 1000}, "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
    ({"NanoCpus": 10**11}, "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"),
    ({"CpuPeriod": 10}, "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"),
    ({"CpuQuota": 10}, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
    ({"CpusetCpus": "99"}, "Requested CPUs are not available - requested 99, available: 0-1"),
    ({"CpusetCpus": "a"}, "Invalid value a for cpuset cpus: invalid format: a"),
    ({"CpusetMems": "9"}, "Requested memory nodes are not available - requested 9, available: 0"),
    ({"OomScoreAdj": 2000}, "Invalid value 2000, range for oom score adj is [-1000, 1000]"),
    ({"ShmSize": -1}, "SHM size can not be less than 0"),
]
HOSTS = [
    ({"RestartPolicy": {"Name": "foo"}}, f"invalid restart policy: unknown policy 'foo'; {_RESTARTS}"),
    (
        {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 3}},
        "invalid restart policy: maximum retry count can only be used with 'on-failure'",
    ),
    (
        {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -1}},
        "invalid restart policy: maximum retry count cannot be negative",
    ),
    (
        {"RestartPolicy": {"Name": "always"}, "AutoRemove": True},
        "can't create 'AutoRemove' container with restart policy",
    ),
    ({"NetworkMode": "container:"}, "Invalid network mode: invalid container format container:<name|id>"),
    (
        {"NetworkMode": "host", "Links": ["a:b"]},
        f"conflicting options: host type networking can't be used with links. {_UNDEFINED}",
    ),
    (
        {"NetworkMode": "container:x", "PortBindings": {"80/tcp": [{"HostPort": "80"}]}},
        "conflicting options: port publishing and the container type network mode",
    ),
    ({"NetworkMode": "container:x", "Dns": ["1.1.1.1"]}, "conflicting options: dns and the network mode"),
    ({"PortBindings": {"80/tcp": [{"HostPort": "999999"}]}}, 'invalid port specification: "999999"'),
    ({"PortBindings": {"80-81/tcp": [{"HostPort": "8080"}]}}, 'invalid port specification: "80-81"'),
    ({"ExtraHosts": ["foo"]}, 'bad format for add-host: "foo"'),
    ({"ExtraHosts": ["foo:bar"]}, 'invalid IP address in add-host: "bar"'),
    ({"PidMode": "foo"}, "invalid PID mode: foo"),
    ({"IpcMode": "foo"}, "invalid IPC mode: foo"),
    ({"UTSMode": "foo"}, "invalid UTS mode: foo"),
    ({"CgroupnsMode": "foo"}, "invalid cgroup namespace mode: foo"),
    ({"Runtime": "foo"}, "unknown or invalid runtime name: foo"),
    ({"CapAdd": ["FOO"]}, 'invalid CapAdd: unknown capability: "CAP_FOO"'),
    ({"CapDrop": ["FOO"]}, 'invalid CapDrop: unknown capability: "CAP_FOO"'),
    ({"SecurityOpt": ["foo"]}, 'invalid --security-opt 1: "foo"'),
    ({"SecurityOpt": ["foo=bar"]}, 'invalid --security-opt 2: "foo=bar"'),
    ({"SecurityOpt": ["no-new-privileges:x"]}, 'invalid --security-opt 2: "no-new-privileges:x"'),
    ({"LogConfig": {"Type": "foo"}}, 'error looking up logging plugin foo: plugin "foo" not found'),
    ({"LogConfig": {"Type": "json-file", "Config": {"foo": "0"}}}, "unknown log opt 'foo' for json-file log driver"),
    ({"LogConfig": {"Type": "local", "Config": {"foo": "0"}}}, "unknown log opt 'foo' for log driver local"),
    ({"LogConfig": {"Type": "json-file", "Config": {"mode": "foo"}}}, "logger: logging mode not supported: foo"),
    ({"LogConfig": {"Type": "json-file", "Config": {"max-size": "x"}}}, "invalid size: 'x'"),
    ({"LogConfig": {"Type": "json-file", "Config": {"max-file": "0"}}}, "max-file cannot be less than 1"),
    (
        {"LogConfig": {"Type": "json-file", "Config": {"max-buffer-size": "1m"}}},
        "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
    ),
    ({"Annotations": {"": "x"}}, "invalid Annotations: the empty string is not permitted as an annotation key"),
    ({"StorageOpt": {"size": "1G"}}, "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"),
]
CONFIGS = [
    ({"Env": ["=x"]}, "invalid environment variable: =x"),
    ({"Env": [""]}, "invalid environment variable: "),
    ({"WorkingDir": "rel"}, "the working directory 'rel' is invalid, it needs to be an absolute path"),
    ({"StopSignal": "FOO"}, "invalid signal: FOO"),
    ({"Healthcheck": {"Test": ["CMD", "a"], "Interval": 100}}, "Interval in Healthcheck cannot be less than 1ms"),
    (
        {"Healthcheck": {"Test": ["CMD", "a"], "StartInterval": 5}},
        "StartInterval in Healthcheck cannot be less than 1ms",
    ),
    ({"Healthcheck": {"Test": ["CMD", "a"], "Retries": -1}}, "Retries in Healthcheck cannot be negative"),
]
ACCEPTED: list[dict[str, Any]] = [
    {"RestartPolicy": {"Name": ""}},
    {"SecurityOpt": ["apparmor=x", "label=disable", "no-new-privileges:true", "seccomp=unconfined"]},
    {"CapAdd": ["sys_admin", "CAP_NET_ADMIN", "all"]},
    {"LogConfig": {"Type": "none", "Config": {"a": "b"}}},
    {"LogConfig": {"Type": "json-file", "Config": {"max-size": "-1", "max-file": "2", "labels": "a"}}},
    {"ExtraHosts": ["a:1.2.3.4", "b:::1", "c:host-gateway"]},
    {"PidsLimit": -5, "CpusetCpus": "0,1", "OomScoreAdj": -1000},
]


@pytest.mark.parametrize(("document", "words"), LIMITS)
def test_limits(document: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid) as raised:
        check_limits(read(HostConfig, document), MACHINE)
    assert str(raised.value) == words


@pytest.mark.parametrize(("document", "words"), HOSTS)
def test_host(document: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid) as raised:
        check_host(Config(), read(HostConfig, document))
    assert str(raised.value) == words


@pytest.mark.parametrize(("document", "words"), CONFIGS)
def test_config(document: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid) as raised:
        check_config(read(Config, document))
    assert str(raised.value) == words


@pytest.mark.parametrize("document", ACCEPTED)
def test_accepted(document: dict[str, Any]) -> None:
    host = read(HostConfig, document)
    assert check_host(Config(), host) == ()
    check_limits(host, MACHINE)


def test_what_docker_fills_in_and_drops() -> None:
    host, warnings = check_limits(read(HostConfig, {"Memory": 64 << 20, "MemorySwappiness": -1}), MACHINE)
    assert (host.memory_swap, host.memory_swappiness, warnings) == (128 << 20, None, ())
    machine = Machine(cpus="0", blkio_weight=False)
    host, warnings = check_limits(read(HostConfig, {"BlkioWeight": 500}), machine)
    assert host.blkio_weight == 0
    assert "Weight discarded" in warnings[0]
    assert "no memory limit is set" in check_limits(read(HostConfig, {"OomKillDisable": True}), MACHINE)[1][0]


def test_published_ports_are_discarded_on_the_hosts_network() -> None:
    host = read(HostConfig, {"NetworkMode": "host", "PortBindings": {"80/tcp": [{"HostPort": "80"}]}})
    assert check_host(Config(), host) == ("Published ports are discarded when using host network mode",)


def test_hardware_addresses() -> None:
    with pytest.raises(Invalid) as raised:
        check_networking(NetworkingConfig(), Config(mac_address="xx"), HostConfig())
    assert str(raised.value) == "invalid config for network bridge: invalid MAC address xx"
    check_networking(NetworkingConfig(), Config(mac_address="02:42:ac:11:00:09"), HostConfig())


def test_links() -> None:
    assert read_link("a") == ("a", "a")
    assert read_link("a:b") == ("a", "b")
    assert read_link("/target:/owner/alias") == ("target", "alias")
    with pytest.raises(Invalid, match="bad format for links: a:b:c"):
        read_link("a:b:c")
