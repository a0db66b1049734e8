"""The fields of a Container, and those that a Job shares with it.

The rule that keeps it simple: names and forms are those of the Compose specification; every entry decodes to its canonical form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.core.resources import Attachment, Container, ContainerSpec
from declarative.manifest.decode import Field, Record
from declarative.manifest.decode_collections import ListOf, Pairs
from declarative.manifest.decode_env_file import ENV_FILES
from declarative.manifest.decode_network import ADDRESS, EXPOSE, EXTRA_HOSTS, NETWORKS, PORTS
from declarative.manifest.decode_process import (
    CAPABILITIES,
    COMMAND,
    HEALTHCHECK,
    IPC,
    NETWORK_MODE,
    PID,
    RESTART,
    SIGNAL,
    ULIMITS,
)
from declarative.manifest.decode_scalars import Boolean, Duration, Integer, Size, Text
from declarative.manifest.decode_secrets import PlainValue, environment_value
from declarative.manifest.decode_storage import DEVICES, FILES, INSIDE, MOUNTS, TMPFS
from declarative.manifest.fields.container_blocks import (
    DEPENDS_ON,
    DRIFT,
    IMAGE,
    LOGGING,
    RESOURCES,
    SECURITY,
    UPDATE,
)
from declarative.manifest.fields.image import PLATFORM
from declarative.manifest.fields.table import Head, Table, add_labels, labels_field

if TYPE_CHECKING:
    from declarative.manifest.decode import Reading
    from declarative.manifest.yaml_nodes import Mapping

_ENVIRONMENT = Pairs(
    environment_value(), "variables, as a map or a list of NAME=VALUE", says="a name holds no = or blank"
)

HINTS = {
    "build": "build it in a document of kind Image and write image: {image: NAME}",
    "configs": "write files: [{target, content or file}]",
    "secrets": "write files: [{target, secret}], or environment: {NAME: {secret: …}}",
    "deploy": "write replicas, resources and update directly in the spec",
    "scale": "did you mean `replicas`?",
    "mem_limit": "write resources: {memory: …}",
    "memory": "write resources: {memory: …}",
    "cpus": "write resources: {cpus: …}",
    "pids_limit": "write resources: {pids: …}",
    "cpuset": "write resources: {cpuset: …}",
    "links": "containers on one network reach each other by name; remove it",
    "env": "did you mean `environment`?",
    "args": "did you mean `command`?",
    "mounts": "did you mean `volumes`?",
    "name": "names stand under metadata; the engine's name is container_name",
    "pull_policy": "write a document of kind Image with pull and policy",
    "profiles": "use a template, or several stacks",
    "extends": "use the Stack's defaults, or a YAML anchor",
}

_BEFORE = (
    Field(
        name="image",
        type=IMAGE,
        doc="What to run: a reference, an Image of this stack, or a tag of a TagScheme.",
        example="nginx:1.27",
        required=True,
    ),
    Field(
        name="command",
        type=COMMAND,
        doc="Arguments; replaces the image's command.",
        example=["serve", "--port", "80"],
        null=True,
    ),
    Field(name="entrypoint", type=COMMAND, doc="Replaces the image's entry point.", example=["/app"], null=True),
    Field(
        name="environment",
        type=_ENVIRONMENT,
        doc="Environment variables. A value may be {secret: {env: NAME}} or {secret: {file: PATH}}.",
        example={"LOG_LEVEL": "info"},
    ),
    Field(
        name="env_file",
        type=ENV_FILES,
        doc="Files of NAME=VALUE lines; later ones win, `environment` wins over all.",
        example=[{"path": "./app.env", "required": False}],
    ),
    Field(name="ports", type=PORTS, doc="Ports published on the host.", example=["8080:80"]),
    Field(name="expose", type=EXPOSE, doc="Ports open to other containers only.", example=["9000"]),
    Field(name="volumes", type=MOUNTS, doc="Volumes, host paths and tmpfs mounts.", example=["data:/var/lib/app"]),
    Field(
        name="files",
        type=FILES,
        doc="Files put into the container before it starts; their content counts when comparing.",
        example=[{"target": "/etc/app.conf", "content": "debug = false\n"}],
    ),
    Field(
        name="networks",
        type=NETWORKS,
        doc="Networks of this stack to hang on.",
        example=["backend"],
        default="the stack's network `default`",
    ),
    Field(
        name="network_mode",
        type=NETWORK_MODE,
        doc="Instead of networks: bridge, host, none, or the namespace of another container of this stack.",
        example="host",
    ),
    Field(
        name="depends_on",
        type=DEPENDS_ON,
        doc="Containers and jobs that must be started, healthy or completed before.",
        example={"db": {"condition": "healthy"}},
    ),
    Field(
        name="healthcheck", type=HEALTHCHECK, doc="How the engine tells whether it is well.", example={"disable": True}
    ),
)
_AFTER = (
    Field(
        name="restart",
        type=RESTART,
        doc='What the engine does when it exits: "no", always, unless-stopped, on-failure or on-failure:N.',
        example="unless-stopped",
        default='"no"',
    ),
    labels_field("container"),
    Field(
        name="user",
        type=Text("a user", number=True),
        doc="User, or USER:GROUP.",
        example="1000:1000",
        default="the image's",
    ),
    Field(name="working_dir", type=INSIDE, doc="Working directory.", example="/srv", default="the image's"),
    Field(
        name="hostname",
        type=Text("a host name", pattern=r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", number=True),
        doc="Host name.",
        example="web",
        default="the container's id",
    ),
    Field(name="domainname", type=Text("a domain name"), doc="NIS domain name.", example="example.com"),
    Field(
        name="dns",
        type=ListOf(ADDRESS, "an address, or a list of them", single=True),
        doc="DNS servers, in order.",
        example=["10.0.0.2"],
    ),
    Field(name="extra_hosts", type=EXTRA_HOSTS, doc="Lines for /etc/hosts.", example=["db.local:10.0.0.5"]),
    Field(name="cap_add", type=CAPABILITIES, doc="Linux capabilities to add.", example=["NET_ADMIN"]),
    Field(name="cap_drop", type=CAPABILITIES, doc="Linux capabilities to drop.", example=["ALL"]),
    Field(name="privileged", type=Boolean(), doc="All capabilities and devices.", example=False, default="false"),
    Field(name="read_only", type=Boolean(), doc="Read-only root file system.", example=True, default="false"),
    Field(name="tmpfs", type=TMPFS, doc="Temporary file systems.", example=["/run:size=16m"]),
    Field(name="shm_size", type=Size(), doc="Size of /dev/shm.", example="128m", default="64m"),
    Field(
        name="ulimits", type=ULIMITS, doc="Limits of the processes.", example={"nofile": {"soft": 1024, "hard": 4096}}
    ),
    Field(
        name="sysctls",
        type=Pairs(PlainValue(), "kernel parameters, as a map or a list of NAME=VALUE"),
        doc="Kernel parameters of its namespaces.",
        example={"net.core.somaxconn": 1024},
    ),
    Field(name="devices", type=DEVICES, doc="Devices of the host.", example=["/dev/fuse"]),
    Field(
        name="security_opt",
        type=SECURITY,
        doc="Security options.",
        example=["no-new-privileges:true"],
    ),
    Field(name="pid", type=PID, doc="PID namespace: host, or that of another container.", example="host"),
    Field(name="ipc", type=IPC, doc="IPC namespace.", example="private"),
    Field(name="init", type=Boolean(), doc="Run a small init as process 1.", example=True, default="false"),
    Field(name="tty", type=Boolean(), doc="Give it a terminal.", example=False, default="false"),
    Field(name="stdin_open", type=Boolean(), doc="Keep standard input open.", example=False, default="false"),
    Field(name="stop_signal", type=SIGNAL, doc="Signal that stops it.", example="SIGTERM", default="the image's"),
    Field(
        name="stop_grace_period",
        type=Duration(),
        doc="Time between that signal and SIGKILL.",
        example="30s",
        default="10s",
    ),
    Field(name="logging", type=LOGGING, doc="Where its output goes.", example={"driver": "json-file"}),
    Field(name="resources", type=RESOURCES, doc="Limits that can change while it runs.", example={"memory": "512m"}),
    Field(name="platform", type=PLATFORM, doc="Platform of the image.", example="linux/amd64"),
    Field(
        name="container_name",
        type=Text("a name", pattern=r"[a-zA-Z0-9][a-zA-Z0-9_.-]+"),
        doc="The engine's name.",
        example="shop-db",
        default="STACK-NAME-INDEX",
    ),
)
DEFAULT_NETWORK = "default"
"""The network of containers that state neither networks nor a mode; `resolve` adds it to the stack."""

SHARED = (*_BEFORE, *_AFTER)
"""What a Container and a Job have in common."""


OWN_NAMESPACE = frozenset({"ports", "expose", "hostname", "dns", "extra_hosts"})
"""Fields of the network namespace: what shares that of another container cannot have its own."""


def check_shared(values: dict[str, Any], node: Mapping, reading: Reading) -> None:
    """Complain about what does not go together in a container's fields."""
    if "networks" in values and "network_mode" in values:
        reading.complain(node.keys["network_mode"], "stands beside networks", "remove one of the two")
    mode = values.get("network_mode", "")
    for name in sorted(OWN_NAMESPACE):
        if mode.startswith("container:") and name in values:
            reading.complain(node.keys[name], f"has no effect with network_mode {mode}", "set it on that container")
    if mode in {"host", "none"} and values.get("ports"):
        reading.complain(node.keys["ports"], f"cannot be published with network_mode {mode}", "remove one of the two")
    mounts = {mount.target for mount in values.get("volumes", ())}
    _check_files(values, node, reading)
    for target in values.get("tmpfs", {}):
        if target in mounts:
            reading.complain(node.keys["tmpfs"], f"`{target}` is a volume too", "remove one of the two")


def _check_files(values: dict[str, Any], node: Mapping, reading: Reading) -> None:
    """Files are put in before the start; what is below a tmpfs would be gone by then."""
    empty = [mount.target for mount in values.get("volumes", ()) if mount.type == "tmpfs"] + [*values.get("tmpfs", ())]
    for entry in values.get("files", ()) if empty else ():
        for target in empty:
            if entry.target.startswith(f"{target}/"):
                text = f"`{entry.target}` is below the tmpfs {target}, which is empty when the container starts"
                reading.complain(node.keys["files"], text, "put the file elsewhere, or mount a volume there")


def container_spec(head: Head, values: dict[str, Any]) -> ContainerSpec:
    """Make the spec; what is not part of it (name, dependencies, rollout) is taken out of `values` before."""
    if "env_file" in values:
        read = {name: value for pairs in values.pop("env_file") for name, value in pairs}
        values["environment"] = {**read, **values.get("environment", {})}
    # To an engine 0 is "not stated", and it reports the size that it chose.
    values["shm_size"] = values.get("shm_size") or None
    add_labels(head, values)
    if "network_mode" not in values:
        # Every resource is found under its own name, as services are in Compose.
        networks = values.get("networks") or {DEFAULT_NETWORK: Attachment()}
        values["networks"] = {name: _named(attachment, head.name) for name, attachment in networks.items()}
    return ContainerSpec(**values)


def _named(attachment: Attachment, name: str) -> Attachment:
    aliases = tuple(sorted({*attachment.aliases, name}))
    return Attachment(aliases=aliases, ipv4_address=attachment.ipv4_address, ipv6_address=attachment.ipv6_address)


def _check(values: dict[str, Any], node: Mapping, reading: Reading) -> Any:
    check_shared(values, node, reading)
    replicas = values.get("replicas", 1)
    if replicas > 1 and "container_name" in values:
        reading.complain(
            node.keys["container_name"], f"{replicas} replicas cannot have one name", "remove it, or set replicas: 1"
        )
    if replicas > 1 and any(port.published for port in values.get("ports", ())):
        remedy = "publish no fixed port, or set replicas: 1"
        reading.complain(node.keys["ports"], f"{replicas} replicas cannot publish one host port", remedy)
    return values


def _make(head: Head, values: dict[str, Any]) -> Container:
    own: dict[str, Any] = {name: values.pop(name) for name in _OWN if name in values}
    if "drift" in values:
        own["ignore"] = values.pop("drift").get("ignore", ())
    return Container(name=head.name, spec=container_spec(head, values), places=head.tree, **own)


_OWN = ("replicas", "container_name", "depends_on", "update")

CONTAINER = Table(
    kind="Container",
    doc="A container, or several alike, that is kept running.",
    spec=Record(
        "a container's spec",
        (
            *SHARED,
            Field(
                name="replicas", type=Integer(largest=10_000), doc="How many there shall be.", example=1, default="1"
            ),
            Field(name="update", type=UPDATE, doc="How a rollout goes.", example={"order": "start-first"}),
            Field(
                name="drift", type=DRIFT, doc="What drift means here.", example={"ignore": ["spec.resources.memory"]}
            ),
        ),
        _check,
        HINTS,
    ),
    make=_make,
)
