"""Whether a configuration is one, with Docker's words where it is not.

The rule that keeps it simple: pure, one function for each group of fields. What Docker leaves to the start (users, devices,
sysctls) is left to the start here too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.engine.containers import log_options, modes
from declarative.engine.containers.security import read_options
from declarative.engine.containers.signals import number_of
from declarative.engine.runtime import capabilities
from declarative.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from declarative.engine.containers.config import Config, Healthcheck, NetworkingConfig
    from declarative.engine.containers.host import HostConfig, RestartPolicy

_MILLISECOND = 1_000_000
_MAC = re.compile(r"[0-9a-fA-F]{2}(?:([:-])[0-9a-fA-F]{2})(?:\1[0-9a-fA-F]{2}){4}")
_RESTARTS = ("no", "always", "on-failure", "unless-stopped")


def check_config(config: Config) -> None:
    """Check the portable part. Invalid."""
    for entry in config.env or ():
        if not entry or entry.startswith("="):
            raise Invalid("", f"invalid environment variable: {entry}")
    if config.working_dir and not config.working_dir.startswith("/"):
        raise Invalid("", f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute path")
    if config.stop_signal:
        number_of(config.stop_signal)
    if config.healthcheck is not None:
        _check_health(config.healthcheck)


def _check_health(check: Healthcheck) -> None:
    for name, value in (
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ):
        if value != 0 and value < _MILLISECOND:
            raise Invalid("", f"{name} in Healthcheck cannot be less than 1ms")
    if check.retries < 0:
        raise Invalid("", "Retries in Healthcheck cannot be negative")


def check_host(config: Config, host: HostConfig) -> tuple[str, ...]:
    """Check the machine's part, limits and mounts aside, and give warnings. Invalid."""
    check_restart(host.restart_policy, auto_remove=host.auto_remove)
    _check_modes(host)
    _check_network(config, host)
    _check_ports(host)
    for entry in host.extra_hosts or ():
        check_extra_host(entry)
    for name, value in (("CapAdd", host.cap_add), ("CapDrop", host.cap_drop)):
        _check_capabilities(name, value or ())
    if host.annotations and "" in host.annotations:
        raise Invalid("", "invalid Annotations: the empty string is not permitted as an annotation key")
    if host.storage_opt:
        raise Invalid("", "--storage-opt is supported only for overlay over xfs with 'pquota' mount option")
    read_options(host.security_opt or ())
    log_options.check(host.log_config)
    if host.network_mode == "host" and host.port_bindings:
        return ("Published ports are discarded when using host network mode",)
    return ()


def check_user_namespace(host: HostConfig) -> None:
    """Check the machine's part of a container that gets a user namespace. Invalid, in Docker's words."""
    if host.privileged:
        raise Invalid(
            "",
            "privileged mode is incompatible with user namespaces.  "
            "You must run the container in the host namespace when running privileged mode",
        )
    if host.network_mode == "host":
        raise Invalid("", "cannot share the host's network namespace when user namespaces are enabled")
    if host.pid_mode == "host":
        raise Invalid("", "cannot share the host PID namespace when user namespaces are enabled")


def check_restart(policy: RestartPolicy, *, auto_remove: bool) -> None:
    """Check a restart policy. Invalid."""
    if policy.name and policy.name not in _RESTARTS:
        raise Invalid(
            "",
            f"invalid restart policy: unknown policy '{policy.name}'; "
            "use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
        )
    if policy.name != "on-failure" and policy.maximum_retry_count:
        raise Invalid("", "invalid restart policy: maximum retry count can only be used with 'on-failure'")
    if policy.maximum_retry_count < 0:
        raise Invalid("", "invalid restart policy: maximum retry count cannot be negative")
    if auto_remove and policy.name not in {"", "no"}:
        raise Invalid("", "can't create 'AutoRemove' container with restart policy")


def _check_modes(host: HostConfig) -> None:
    for mode, plain, what in (
        (host.pid_mode, ("", "host"), "PID mode"),
        (host.ipc_mode, ("", "host", "none", "private", "shareable"), "IPC mode"),
        (host.uts_mode, ("", "host"), "UTS mode"),
        (host.cgroupns_mode, ("", "host", "private"), "cgroup namespace mode"),
    ):
        joins = what in {"PID mode", "IPC mode"} and bool(modes.joined(mode))
        if mode not in plain and not joins:
            raise Invalid("", f"invalid {what}: {mode}")
    if host.userns_mode not in {"", "host", "private"}:
        raise Invalid("", f"invalid USER mode: {host.userns_mode}")
    if host.isolation not in {"", "default"}:
        raise Invalid("", f"Invalid isolation: \"{host.isolation}\" - linux only supports 'default'")
    if host.runtime not in {"", "runc", "io.containerd.runc.v2"}:
        raise Invalid("", f"unknown or invalid runtime name: {host.runtime}")


def _check_network(config: Config, host: HostConfig) -> None:
    mode = host.network_mode
    if mode == modes.PREFIX:
        raise Invalid("", "Invalid network mode: invalid container format container:<name|id>")
    if host.uts_mode == "host" and config.hostname:
        raise Invalid("", "conflicting options: hostname and the UTS mode")
    if mode == "host" and host.links:
        raise Invalid(
            "",
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
        )
    if not modes.joined(mode):
        return
    if config.hostname:
        raise Invalid("", "conflicting options: hostname and the network mode")
    if host.links:
        raise Invalid(
            "",
            "conflicting options: container type network can't be used with links. This would result in undefined behavior",
        )
    for given, what in (
        (host.dns, "dns and the network mode"),
        (host.extra_hosts, "custom host-to-IP mapping and the network mode"),
        (host.port_bindings or host.publish_all_ports, "port publishing and the container type network mode"),
        (config.exposed_ports, "port exposing and the container type network mode"),
    ):
        if given:
            raise Invalid("", f"conflicting options: {what}")


def _check_ports(host: HostConfig) -> None:
    for key, bindings in (host.port_bindings or {}).items():
        port = key.partition("/")[0]
        if not _is_port(port):
            raise Invalid("", f'invalid port specification: "{port}"')
        for binding in bindings or ():
            first, dash, last = binding.host_port.partition("-")
            if binding.host_port and not (_is_port(first) and (not dash or _is_port(last))):
                raise Invalid("", f'invalid port specification: "{binding.host_port}"')


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) <= 65535


def check_extra_host(entry: str) -> tuple[str, str]:
    """Give name and address of `--add-host NAME:ADDRESS`, the address perhaps `host-gateway`. Invalid."""
    import ipaddress

    name, colon, address = entry.partition(":")
    if not colon or not name:
        raise Invalid("", f'bad format for add-host: "{entry}"')
    if address != "host-gateway":
        plain = address.removeprefix("[").removesuffix("]") if address.startswith("[") else address
        try:
            ipaddress.ip_address(plain.partition("%")[0])
        except ValueError:
            raise Invalid("", f'invalid IP address in add-host: "{address}"') from None
        return name, plain
    return name, address


def _check_capabilities(field: str, names: Iterable[str]) -> None:
    for name in names:
        known = name.upper() if name.upper().startswith("CAP_") else f"CAP_{name.upper()}"
        if known not in {"CAP_ALL", *capabilities.KNOWN}:
            raise Invalid("", f'invalid {field}: unknown capability: "{known}"')


def check_networking(networking: NetworkingConfig, config: Config, host: HostConfig) -> None:
    """Check what is asked for of networks, as far as the networks themselves need not be known. Invalid."""
    if config.mac_address:
        check_mac(config.mac_address, modes.network_of(host.network_mode))
    for name, endpoint in (networking.endpoints or {}).items():
        if endpoint is not None and endpoint.mac_address:
            check_mac(endpoint.mac_address, name)


def check_mac(text: str, network: str) -> None:
    """Check a hardware address. Invalid."""
    if not _MAC.fullmatch(text):
        raise Invalid("", f"invalid config for network {network}: invalid MAC address {text}")


def read_link(text: str) -> tuple[str, str]:
    """Give container and alias of `--link NAME[:ALIAS]`. Invalid."""
    if not text:
        raise Invalid("", "empty string specified for links")
    parts = text.split(":")
    if len(parts) > 2:
        raise Invalid("", f"bad format for links: {text}")
    if len(parts) == 1:
        return text, text
    name, alias = parts
    if name.startswith("/"):  # how inspect writes it: /target:/owner/alias
        alias = alias.rpartition("/")[2]
    return name.removeprefix("/"), alias
