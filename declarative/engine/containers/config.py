"""What a container runs: the portable part of its configuration (`Config` of the API), and its endpoints' settings.

The rule that keeps it simple: a record has the fields of the API object of that name and no others; what the engine makes of
them is somewhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.containers.shapes import (
    ARGV,
    FLAG,
    MAYBE_NUMBER,
    NAMES,
    NUMBER,
    PAIRS,
    TEXT,
    TEXTS,
    Shape,
    one,
    shape,
    table,
)
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping


@record
class Healthcheck:
    """`HealthConfig`: durations in nanoseconds; zero stands for the default, in all of them."""

    test: tuple[str, ...] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


shape(
    Healthcheck,
    Shape("test", "Test", TEXTS, omit=True),
    Shape("interval", "Interval", NUMBER, omit=True),
    Shape("timeout", "Timeout", NUMBER, omit=True),
    Shape("start_period", "StartPeriod", NUMBER, omit=True),
    Shape("start_interval", "StartInterval", NUMBER, omit=True),
    Shape("retries", "Retries", NUMBER, omit=True),
)


@record
class Config:
    """`ContainerConfig`: what is independent of the machine."""

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: tuple[str, ...] | None = None
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    healthcheck: Healthcheck | None = None
    image: str = ""
    volumes: tuple[str, ...] | None = None
    working_dir: str = ""
    entrypoint: tuple[str, ...] | None = None
    network_disabled: bool = False
    mac_address: str = ""
    on_build: tuple[str, ...] | None = None
    labels: Mapping[str, str] | None = field(default=None, hash=False)
    stop_signal: str = ""
    stop_timeout: int | None = None
    shell: tuple[str, ...] | None = None


shape(
    Config,
    Shape("hostname", "Hostname", TEXT),
    Shape("domainname", "Domainname", TEXT),
    Shape("user", "User", TEXT),
    Shape("attach_stdin", "AttachStdin", FLAG),
    Shape("attach_stdout", "AttachStdout", FLAG),
    Shape("attach_stderr", "AttachStderr", FLAG),
    Shape("exposed_ports", "ExposedPorts", NAMES, omit=True),
    Shape("tty", "Tty", FLAG),
    Shape("open_stdin", "OpenStdin", FLAG),
    Shape("stdin_once", "StdinOnce", FLAG),
    Shape("env", "Env", TEXTS),
    Shape("cmd", "Cmd", ARGV),
    Shape("healthcheck", "Healthcheck", one(Healthcheck), omit=True),
    Shape("image", "Image", TEXT),
    Shape("volumes", "Volumes", NAMES),
    Shape("working_dir", "WorkingDir", TEXT),
    Shape("entrypoint", "Entrypoint", ARGV),
    Shape("network_disabled", "NetworkDisabled", FLAG, omit=True),
    Shape("mac_address", "MacAddress", TEXT, omit=True),
    Shape("on_build", "OnBuild", TEXTS),
    Shape("labels", "Labels", PAIRS),
    Shape("stop_signal", "StopSignal", TEXT, omit=True),
    Shape("stop_timeout", "StopTimeout", MAYBE_NUMBER, omit=True),
    Shape("shell", "Shell", ARGV, omit=True),
)


@record
class Addresses:
    """`EndpointIPAMConfig`: the addresses that were asked for."""

    ipv4: str = ""
    ipv6: str = ""
    link_local: tuple[str, ...] | None = None


shape(
    Addresses,
    Shape("ipv4", "IPv4Address", TEXT, omit=True),
    Shape("ipv6", "IPv6Address", TEXT, omit=True),
    Shape("link_local", "LinkLocalIPs", TEXTS, omit=True),
)


@record
class EndpointConfig:
    """What was asked for of `EndpointSettings`; the rest of that object is what came of it."""

    addresses: Addresses | None = None
    links: tuple[str, ...] | None = None
    aliases: tuple[str, ...] | None = None
    mac_address: str = ""
    driver_opts: Mapping[str, str] | None = field(default=None, hash=False)


shape(
    EndpointConfig,
    Shape("addresses", "IPAMConfig", one(Addresses)),
    Shape("links", "Links", TEXTS),
    Shape("aliases", "Aliases", TEXTS),
    Shape("mac_address", "MacAddress", TEXT),
    Shape("driver_opts", "DriverOpts", PAIRS),
)


@record
class NetworkingConfig:
    """The networks to be attached to, by name or id."""

    endpoints: Mapping[str, EndpointConfig | None] | None = field(default=None, hash=False)


shape(NetworkingConfig, Shape("endpoints", "EndpointsConfig", table(one(EndpointConfig))))
