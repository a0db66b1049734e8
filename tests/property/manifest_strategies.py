"""Random valid manifests of one stack: every kind, most fields, few names, so that two of them have much to change between them.

The rule that keeps it simple: documents are dictionaries, written as JSON (which is YAML); what would make a manifest invalid,
or a container die, is never drawn, so that every example counts. All containers stop at once and are watched for no time.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from declarative.manifest.load import LoadOptions, load_stack

if TYPE_CHECKING:
    from pathlib import Path

    from declarative.manifest.load import Loaded

Document = dict[str, Any]
Spec = dict[str, Any]

SECRETS = {"PASSWORD": "hunter2-is-long", "TOKEN": "tok-4f1c9d"}
RICH = "law-rich:1"  # an image that states everything an image can; RICH_DOCKERFILE makes it
RICH_DOCKERFILE = """\
FROM busybox:latest
ENV A=image B=image
LABEL who=image what=image
VOLUME /state
EXPOSE 80 53/udp
WORKDIR /tmp
STOPSIGNAL SIGKILL
HEALTHCHECK --interval=50ms CMD ["true"]
CMD ["sleep", "9000"]
"""
REGISTRY = "registry.test:5000"
PULLED = f"{REGISTRY}/given:1"
_VERSIONS = ("1.9.1", "1.9.2", "1.9.3", "2.0.0", "2.1.0-rc.1", "0.3.0")
# in an order in which each may need the ones before it
_WORKLOADS = (("db", "Container"), ("seed", "Job"), ("api", "Container"), ("migrate", "Job"), ("web", "Container"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What the engine of a test has to offer. `folder` names the bind mounts' source on it."""

    registry: bool = True
    schemes: bool = True
    privileged: bool = True  # a machine that is a container itself may have no such powers to give
    workloads: tuple[tuple[str, str], ...] = _WORKLOADS


MEMORY = Engine()
PLAIN = Engine(registry=False, schemes=False)


def text_of(documents: list[Document]) -> str:
    """Write documents as one manifest file."""
    return "".join(f"---\n{json.dumps(document, indent=1)}\n" for document in documents)


def read(text: str, folder: Path, stack: str = "law") -> Loaded:
    """Read a manifest as standard input would bring it, with the secrets in the environment."""
    options = LoadOptions(
        working_folder=folder, stack=stack, environ={**SECRETS, "GIVEN": "given"}, stdin=io.BytesIO(text.encode())
    )
    return load_stack(["-"], options)


def document(kind: str, name: str, spec: Spec, labels: dict[str, str] | None = None) -> Document:
    """Make one document."""
    metadata: dict[str, Any] = {"name": name} | ({"labels": labels} if labels else {})
    return {"apiVersion": "declarative/v1", "kind": kind, "metadata": metadata, "spec": spec}


@st.composite
def stacks(draw: st.DrawFn, engine: Engine = MEMORY) -> list[Document]:
    """Draw a whole stack; now and then nothing but one container."""
    networks = {name: draw(_networks(1 if name == "back" else 2)) for name in draw(_some("back", "front"))}
    volumes = {name: draw(_volumes()) for name in draw(_some("data", "cache"))}
    images = {name: draw(_images(engine)) for name in draw(_some("app", "tool"))}
    builds = [name for name, spec in images.items() if "build" in spec]
    scheme = draw(_schemes(builds[0], engine)) if engine.schemes and builds and draw(st.booleans()) else None
    if scheme is not None:
        images[scheme["image"]].pop("tags", None)
    around = _Around(
        networks=networks,
        volumes=volumes,
        images=sorted(images),
        scheme=scheme,
        privileged=engine.privileged,
        turn=draw(st.integers(0, 4)),
    )
    documents = [document("Network", name, spec) for name, spec in networks.items()]
    documents += [document("Volume", name, spec) for name, spec in volumes.items()]
    documents += [document("Image", name, spec) for name, spec in images.items()]
    documents += [document("TagScheme", "release", scheme)] if scheme is not None else []
    workloads = draw(st.lists(st.sampled_from(engine.workloads), unique=True, min_size=1, max_size=4))
    earlier: list[Document] = []
    for number, (name, kind) in enumerate(engine.workloads):
        if (name, kind) in workloads:
            labels = draw(st.sampled_from([None, None, {"tier": "one"}, {"tier": "two"}]))
            place = (number + around.turn) % len(_WORKLOADS)
            spec = draw(_workloads(kind, place, around, earlier))
            if _may_be_named(spec) and draw(st.booleans()):
                spec["container_name"] = f"named-{place}"
            made = document(kind, name, spec, labels)
            earlier.append(made)
    return draw(st.permutations([*documents, *earlier]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Around:
    networks: dict[str, Spec]
    volumes: dict[str, Spec]
    images: list[str]
    scheme: Spec | None
    privileged: bool
    turn: int  # who has which host port and address: in another stack they are somebody else's


def _some(*names: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), unique=True).map(sorted)


def _maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Spec]:
    """Draw a few of the fields: most specs state little."""
    chosen = st.sets(st.sampled_from(sorted(fields)), max_size=4)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: fields[name] for name in sorted(names)}))


_LABELS = st.dictionaries(
    st.sampled_from(["team", "a.b/c", "who"]), st.sampled_from(["", "one", "two words"]), max_size=2
)


@st.composite
def _networks(draw: st.DrawFn, number: int) -> Spec:
    spec = draw(
        _maybe(
            driver=st.just("bridge"),
            internal=st.booleans(),
            labels=_LABELS,
            options=st.sampled_from([{"com.docker.network.driver.mtu": "1400"}, {}]),
        )
    )
    if draw(st.booleans()):
        spec["subnet"] = f"10.77.{number * 2 + draw(st.integers(0, 1))}.0/24"
        if draw(st.booleans()):
            spec["gateway"] = spec["subnet"].replace(".0/24", ".9")
    return spec


def _volumes() -> st.SearchStrategy[Spec]:
    return _maybe(driver=st.just("local"), labels=_LABELS)


@st.composite
def _images(draw: st.DrawFn, engine: Engine) -> Spec:
    if engine.registry and draw(st.integers(0, 3)) == 0:
        policy = draw(st.sampled_from(["missing", "always"]))
        return {"pull": PULLED, "policy": policy, "tags": draw(_tags())}
    build: Spec = {"context": ".", "dockerfile_inline": draw(_dockerfiles())}
    build |= draw(_maybe(args=st.just({"X": "1"}), labels=_LABELS))
    return {"build": build, "tags": draw(_tags())}


def _tags() -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(["one", "two", "latest"]), unique=True, min_size=1, max_size=2)


@st.composite
def _dockerfiles(draw: st.DrawFn) -> str:
    lines = draw(
        st.lists(
            st.sampled_from(
                ["ENV A=built", "ENV A=other", "LABEL who=built", "EXPOSE 81", "WORKDIR /srv", "VOLUME /state"]
            ),
            unique=True,
            max_size=2,
        )
    )
    return "\n".join([f"FROM {draw(st.sampled_from(['busybox', RICH]))}", *lines, 'CMD ["sleep", "9000"]', ""])


@st.composite
def _schemes(draw: st.DrawFn, image: str, engine: Engine) -> Spec:
    spec: Spec = {"image": image, "version": draw(st.sampled_from(_VERSIONS))}
    if draw(st.booleans()):
        spec["variant"] = "slim"
    if engine.registry and draw(st.booleans()):
        spec |= {"push": True, "repository": f"{REGISTRY}/released"}
    return spec


@st.composite
def _workloads(draw: st.DrawFn, kind: str, number: int, around: _Around, earlier: list[Document]) -> Spec:
    """Draw a Container or Job. `number` gives it host ports and addresses of its own."""
    spec = draw(_basics())
    shared = [made["metadata"]["name"] for made in earlier if _can_share(made)]
    spec |= draw(_attachments(number, around, shared))
    if spec.get("network_mode", "").startswith("container:"):
        spec.pop("expose", None)  # engines refuse it: the ports are those of the other container
    if not around.privileged:
        spec.pop("privileged", None)
    if mounts := draw(_mounts(around)):
        spec["volumes"] = mounts
    if needs := draw(_dependencies(earlier)):
        spec["depends_on"] = needs
    if kind == "Job":
        spec |= {"image": draw(_image_refs(around)), "entrypoint": [], "command": ["true"]}
        spec.pop("restart", None)
        return spec | draw(_maybe(deadline=st.just("20s")))
    spec |= {"image": draw(_image_refs(around)), "stop_signal": "SIGKILL"}
    spec["command"] = draw(st.sampled_from([["sleep", "9000"], ["sleep", "9001"], "sleep 9002"]))
    update: Spec = {"monitor": "0s", "deadline": "20s"}
    update |= draw(_maybe(order=st.sampled_from(["start-first", "stop-first"]), parallelism=st.integers(0, 2)))
    spec["update"] = update
    if spec.get("ports") or _addressed(spec):
        update.pop("order", None)  # two of them at once cannot have one port or address
    elif draw(st.booleans()):
        spec["replicas"] = draw(st.integers(1, 3))
    return spec


def _may_be_named(spec: Spec) -> bool:
    """Whether it is one container that holds nothing else that others may take: both at once are refused."""
    return spec.get("replicas", 1) == 1 and not spec.get("ports") and not _addressed(spec)


def _can_share(made: Document) -> bool:
    """Whether a later container may live in its namespaces."""
    spec = made["spec"]
    alone = spec.get("replicas", 1) == 1 and spec.get("update", {}).get("order") != "start-first"
    return made["kind"] == "Container" and alone and not spec.get("network_mode", "").startswith("container:")


def _addressed(spec: Spec) -> bool:
    networks = spec.get("networks", {})
    return isinstance(networks, dict) and any("ipv4_address" in (how or {}) for how in networks.values())


def _basics() -> st.SearchStrategy[Spec]:
    """Draw the fields that stand alone."""
    return _maybe(
        environment=st.dictionaries(st.sampled_from(["A", "B", "C"]), _env_values(), max_size=3),
        files=_files(),
        expose=st.sampled_from([["80"], ["53/udp", "81"]]),
        healthcheck=st.sampled_from(
            [
                {"test": ["CMD", "true"], "interval": "50ms", "timeout": "1s"},
                {"disable": True},
                {"test": "true", "interval": "60ms"},
            ]
        ),
        restart=st.sampled_from(["no", "always", "unless-stopped", "on-failure:3", "on-failure:0"]),
        labels=_LABELS,
        user=st.sampled_from(["0", "root", "nobody"]),
        working_dir=st.sampled_from(["/", "/etc", "/made/here"]),
        cap_add=st.just(["CHOWN"]),
        cap_drop=st.sampled_from([["MKNOD"], ["MKNOD", "CAP_AUDIT_WRITE"]]),
        tmpfs=st.sampled_from([["/run"], ["/run:size=64k"]]),
        shm_size=st.sampled_from(["1m", "64m", 0]),
        ulimits=st.sampled_from([{"nofile": 1024}, {"nofile": {"soft": 512, "hard": 1024}}]),
        init=st.booleans(),
        tty=st.booleans(),
        stdin_open=st.booleans(),
        stop_grace_period=st.sampled_from(["0s", "1500ms", "10s"]),
        logging=st.sampled_from([{"driver": "json-file", "options": {"max-size": "1m"}}, {"driver": "none"}]),
        resources=_limits(),
        privileged=st.booleans(),
        read_only=st.booleans(),
        security_opt=st.just(["no-new-privileges:true"]),
        ipc=st.sampled_from(["private", "shareable"]),
        devices=st.just(["/dev/null:/dev/nothing:rw"]),
        platform=st.just("linux/amd64"),
    )


def _env_values() -> st.SearchStrategy[Any]:
    secret = st.sampled_from(sorted(SECRETS)).map(lambda name: {"secret": {"env": name}})
    return st.one_of(st.sampled_from(["", "1", "two words", "a=b"]), secret)


def _files() -> st.SearchStrategy[list[Spec]]:
    content: st.SearchStrategy[Spec] = st.sampled_from(
        [{"content": "one\n"}, {"content": "two\n", "mode": "0440"}, {"secret": {"env": "TOKEN"}}]
    )
    return content.map(lambda how: [{"target": "/etc/app.conf"} | how])


def _limits() -> st.SearchStrategy[Spec]:
    return _maybe(
        memory=st.sampled_from(["32m", "64m"]),
        cpus=st.sampled_from([0.25, 0.5]),
        cpu_shares=st.sampled_from([256, 512]),
        pids=st.sampled_from([50, 100, -1]),
        cpuset=st.just("0"),
    )


@st.composite
def _attachments(draw: st.DrawFn, number: int, around: _Around, shared: list[str]) -> Spec:
    """Draw how it hangs on networks, and what needs a network namespace of its own."""
    match draw(st.sampled_from(["plain", "plain", "networks", "networks", "mode", "shared"])):
        case "networks" if around.networks:
            spec: Spec = {"networks": draw(_network_maps(number, around.networks))}
        case "shared" if shared:
            return {"network_mode": f"container:{draw(st.sampled_from(shared))}"}
        case "mode":
            return {"network_mode": draw(st.sampled_from(["none", "bridge"]))}
        case _:
            spec = {}
    port = 20100 + 10 * number
    own = _maybe(
        ports=st.sampled_from(
            [[f"{port}:80"], [f"127.0.0.1:{port}:80", "81"], ["80"], [f"0.0.0.0:{port}:80", "0.0.0.0::81"]]
        ),
        hostname=st.just("host"),
        dns=st.just(["9.9.9.9"]),
        extra_hosts=st.just(["db.local:10.0.0.5"]),
        sysctls=st.just({"net.ipv4.ip_unprivileged_port_start": "0"}),
    )
    return spec | draw(own)


@st.composite
def _network_maps(draw: st.DrawFn, number: int, networks: dict[str, Spec]) -> Any:
    names = draw(st.lists(st.sampled_from(sorted(networks)), unique=True, min_size=1))
    if draw(st.booleans()):
        return names
    found: dict[str, Any] = {}
    for name in names:
        how: Spec = draw(_maybe(aliases=st.sampled_from([["alias"], ["alias", "second"]])))
        if "subnet" in networks[name] and draw(st.booleans()):
            how["ipv4_address"] = networks[name]["subnet"].replace(".0/24", f".{20 + number}")
        found[name] = how or None
    return found


@st.composite
def _mounts(draw: st.DrawFn, around: _Around) -> list[Any]:
    kinds: list[Any] = ["/anonymous", {"type": "tmpfs", "target": "/soft", "tmpfs": {"size": "64k"}}, "/etc:/host:ro"]
    for name in around.volumes:
        kinds += [f"{name}:/{name}", f"{name}:/{name}:ro"]
    chosen = draw(st.lists(st.sampled_from(range(len(kinds))), unique=True, max_size=2))
    found = {}
    for mount in (kinds[number] for number in chosen):
        target = mount["target"] if isinstance(mount, dict) else [p for p in mount.split(":") if p != "ro"][-1]
        found[target] = mount
    return list(found.values())


@st.composite
def _dependencies(draw: st.DrawFn, earlier: list[Document]) -> Any:
    if not earlier:
        return None
    chosen = draw(st.lists(st.sampled_from(range(len(earlier))), unique=True, max_size=2))
    if draw(st.booleans()):
        return [earlier[number]["metadata"]["name"] for number in chosen]
    conditions = {"Container": ["started", "healthy"], "Job": ["completed"]}
    return {
        earlier[number]["metadata"]["name"]: {"condition": draw(st.sampled_from(conditions[earlier[number]["kind"]]))}
        for number in chosen
    }


@st.composite
def _image_refs(draw: st.DrawFn, around: _Around) -> Any:
    choices: list[Any] = ["busybox", "busybox:latest", RICH, *({"image": name} for name in around.images)]
    if around.scheme is not None:
        choices += [{"scheme": "release", "track": track} for track in _tracks(around.scheme)]
    return draw(st.sampled_from(choices))


def _tracks(scheme: Spec) -> list[str]:
    """List the tags that the scheme's version has for certain."""
    version = scheme["version"]
    return [version] if "-" in version else [version, version.partition(".")[0], "latest"]
