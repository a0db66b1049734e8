"""Scenes of images, tags, networks, volumes and removals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.plan import Policy
from declarative.core.resources import ContainerSpec, ImageRef, NetworkSpec, VolumeSpec
from declarative.core.state import ImageConfig
from declarative.drivers.memory.engine import Net
from tests.property.manifest_strategies import PULLED, REGISTRY
from tests.unit.planner.scenes import Scene, build, doc, released, run

if TYPE_CHECKING:
    from declarative.drivers.memory import MemoryEngine

_PULL = "pull: {}\npolicy: {}\ntags: [one]"
_PUSH = f"push: true\nrepository: {REGISTRY}/app"
_NETWORK = doc("Network", "back")
_ON_BOTH = run("web", "networks: [back, front]") + run("db", "networks: [front]")
_ON_IT = run("web", "networks: [back]") + run("db", "networks: {back: {aliases: [d]}}")
_ON_FRONT = run("web", "networks: [front]") + run("db", "networks: {back: {aliases: [d]}}")
_VOLUME = doc("Volume", "data") + run("db", "volumes: ['data:/data']")
_CHANGED_VOLUME = _VOLUME.replace("{name: data}\n", "{name: data}\nspec: {labels: {a: b}}\n", 1)
_STACK = run("web", "networks: [back]\ndepends_on: [db]") + run("db", "networks: [back]\nvolumes: ['data:/data']")
_WHOLE = _NETWORK + doc("Volume", "data") + _STACK
_CROWD = "".join(run(f"c{number}") for number in range(9))


def _newer(engine: MemoryEngine) -> None:
    engine.registry.publish(PULLED, ImageConfig(command=("sleep", "1")))


def _move_tag(engine: MemoryEngine) -> None:
    engine.references["law/app:1"] = engine.references["busybox:latest"]


def _untag(engine: MemoryEngine) -> None:
    engine.drop_reference("law/app:latest")


def _move_remote_tag(engine: MemoryEngine) -> None:
    repository = engine.registry.repositories[f"{REGISTRY}/app"]
    repository["latest"] = repository["1.9.1"]


def _newer_base(engine: MemoryEngine) -> None:
    engine.add_image("busybox:latest", ImageConfig(command=("newer",)))


def _build_as_another_stack(engine: MemoryEngine) -> None:
    engine.add_image("law/app:latest", ImageConfig(labels={"declarative.stack": "rival", "declarative.kind": "Image"}))


def _break_the_label(engine: MemoryEngine) -> None:
    engine.add_image("law/app:latest", ImageConfig(labels={"declarative.build": "[" * 100_000}))


def _drop_base(engine: MemoryEngine) -> None:
    engine.drop_reference("busybox:latest")


def _lose_the_base(engine: MemoryEngine) -> None:
    engine.drop_reference("law/base:one")


def _drop_given(engine: MemoryEngine) -> None:
    engine.drop_reference(PULLED)


def _drop_given_and_publish_another(engine: MemoryEngine) -> None:
    _drop_given(engine)
    _newer(engine)


def _lose_images(engine: MemoryEngine) -> None:
    """Be another engine: nothing is there but what registries have, not even the base image."""
    engine.containers.clear()
    engine.references.clear()
    engine.images.clear()


def _lose_images_but_busybox(engine: MemoryEngine) -> None:
    _lose_images(engine)
    engine.add_image("busybox:latest", ImageConfig())


def _strangers_network(engine: MemoryEngine) -> None:
    engine.networks["law_back"] = Net(id="x", spec=NetworkSpec(driver="bridge"))


def _strangers_volume(engine: MemoryEngine) -> None:
    engine.add_volume("law_data").spec = VolumeSpec(driver="local")


def _stranger_on_it(engine: MemoryEngine) -> None:
    spec = ContainerSpec(image=ImageRef(reference="busybox:latest"), command=("sleep", "1"))
    engine.create("somebodys", spec, {}, None, None)
    from declarative.core.resources import Attachment

    engine.connect("somebodys", "law_back", Attachment())


def _stop_web(engine: MemoryEngine) -> None:
    engine.stop("law-web-1")


def _remove_network(engine: MemoryEngine) -> None:
    engine.remove_network("law_back")


def _all(number: str) -> str:
    return build("app", f"ENV V={number}", "") + released(number)


def _labelled(number: str, track: str) -> str:
    """Have a web that follows a version, which the image's label says, and a proxy that waits for it."""
    scheme = doc("TagScheme", "release", "image: app\nversion_from: {label: version}")
    web = run("web", image=f"{{scheme: release, track: '{track}'}}")
    return build("app", f"LABEL version={number}", "") + scheme + web + run("proxy", "depends_on: [web]") + run("db")


_MIRRORED = (
    doc("Image", "app", f"pull: {PULLED}\ntags: [latest]")
    + released("7.0.1", _PUSH)
    + run("web", image="{scheme: release, track: '7'}")
)


def _stacked(number: str) -> str:
    """Have an image that is built on a floating tag of another one, both with versions, and who runs such a tag by its name."""
    base = build("base", f"ENV V={number}", "") + doc("TagScheme", "base", f"image: base\nversion: {number}")
    app = build("app", f"ENV A={number}", "").replace("FROM busybox", "FROM law/base:1")
    return base + app + released(number) + run("web", image="law/app:1")


def _pushed(number: str) -> str:
    return build("app", f"ENV V={number}", "") + released(number, _PUSH)


_ON_GIVEN = doc("Image", "given", f"pull: {PULLED}") + build("app").replace("FROM busybox", f"FROM {PULLED}")

SCENES = (
    Scene(name="whole-stack", now=_WHOLE),
    Scene(name="build-first", now=build("app", spec="tags: [latest, one]") + run("web", image="{image: app}")),
    Scene(
        name="build-in-sync",
        applied=(build("app") + run("web", image="{image: app}"),),
        now=build("app") + run("web", image="{image: app}"),
    ),
    Scene(
        name="build-changed",
        applied=(build("app") + run("web", image="{image: app}"),),
        now=build("app", "ENV A=2") + run("web", image="{image: app}"),
    ),
    Scene(name="build-on-a-newer-base", applied=(build("app"),), since=_newer_base, now=build("app")),
    Scene(name="build-on-a-base-that-has-gone", applied=(build("app"),), since=_drop_base, now=build("app")),
    Scene(name="build-on-a-pulled-base-that-has-gone", applied=(_ON_GIVEN,), since=_drop_given, now=_ON_GIVEN),
    Scene(
        name="build-on-a-pulled-base-that-has-gone-and-is-another-now",
        applied=(_ON_GIVEN,),
        since=_drop_given_and_publish_another,
        now=_ON_GIVEN,
    ),
    Scene(
        name="build-on-a-pulled-base-that-is-newer",
        applied=(_ON_GIVEN.replace(PULLED + "\n", PULLED + "\n  policy: always\n"),),
        since=_newer,
        now=_ON_GIVEN.replace(PULLED + "\n", PULLED + "\n  policy: always\n"),
    ),
    Scene(
        name="build-changed-on-a-base-that-has-gone",
        applied=(_ON_GIVEN,),
        since=_drop_given,
        now=_ON_GIVEN.replace("ENV A=1", "ENV A=2"),
    ),
    Scene(name="build-untagged", applied=(build("app"),), since=_untag, now=build("app")),
    Scene(name="another-tag", applied=(build("app", spec="tags: [one]"),), now=build("app", spec="tags: [two]")),
    Scene(name="build-that-needs-buildkit", now=build("app", "RUN --mount=type=cache,target=/c true")),
    Scene(name="plain-reference-missing", now=run("web", image=PULLED)),
    Scene(name="pull-missing", now=doc("Image", "given", _PULL.format(PULLED, "missing"))),
    Scene(
        name="pull-always-in-sync",
        applied=(doc("Image", "given", _PULL.format(PULLED, "always")),),
        now=doc("Image", "given", _PULL.format(PULLED, "always")),
    ),
    Scene(
        name="pull-always-newer",
        applied=(doc("Image", "given", _PULL.format(PULLED, "always")) + run("web", image="{image: given}"),),
        since=_newer,
        now=doc("Image", "given", _PULL.format(PULLED, "always")) + run("web", image="{image: given}"),
    ),
    Scene(
        name="pull-missing-is-content",
        applied=(doc("Image", "given", _PULL.format(PULLED, "missing")),),
        since=_newer,
        now=doc("Image", "given", _PULL.format(PULLED, "missing")),
    ),
    Scene(name="pull-never", now=doc("Image", "given", _PULL.format(PULLED, "never"))),
    Scene(
        name="tags-taken-over-by-a-scheme",
        applied=(build("app", spec="tags: [latest, mine]"),),
        now=build("app", spec="") + released("1.9.1"),
    ),
    Scene(name="tags-first-version", now=_all("1.9.1")),
    Scene(
        name="tags-next-version",
        applied=(_all("1.9.1"),),
        now=_all("1.9.2") + run("web", image="{scheme: release, track: '1'}"),
    ),
    Scene(name="tags-next-major", applied=(_all("1.9.1"), _all("1.9.2")), now=_all("2.0.0")),
    Scene(name="tags-backport", applied=(_all("1.9.1"), _all("2.0.0")), now=_all("1.9.2")),
    Scene(name="tags-prerelease", applied=(_all("1.9.1"),), now=_all("2.0.0-rc.1")),
    Scene(name="tags-on-a-base-that-has-gone", applied=(_all("1.9.1"),), since=_drop_base, now=_all("1.9.1")),
    Scene(name="tags-moved-by-hand", applied=(_all("1.9.1"),), since=_move_tag, now=_all("1.9.1")),
    Scene(
        name="tags-same-version-other-content", applied=(_all("1.9.1"),), now=_all("1.9.1").replace("ENV V", "ENV W")
    ),
    Scene(
        name="tags-retag-allowed",
        applied=(_all("1.9.1"),),
        now=_all("1.9.1").replace("ENV V", "ENV W"),
        policy=Policy(allow_retag=True),
    ),
    Scene(name="push-first-version", now=_pushed("1.9.1")),
    Scene(name="push-backport", applied=(_pushed("1.9.1"), _pushed("2.0.0")), now=_pushed("1.9.2")),
    Scene(name="push-in-sync", applied=(_pushed("1.9.1"), _pushed("1.9.2")), now=_pushed("1.9.2")),
    Scene(
        name="push-moved-by-hand",
        applied=(_pushed("1.9.1"), _pushed("1.9.2")),
        since=_move_remote_tag,
        now=_pushed("1.9.2"),
    ),
    Scene(
        name="push-from-another-engine",
        applied=(_pushed("1.9.1"),),
        since=_lose_images,
        now=_pushed("1.9.1") + run("web", image="{scheme: release, track: '1'}"),
    ),
    Scene(
        name="push-from-another-engine-of-other-content",
        applied=(_pushed("1.9.1"),),
        since=_lose_images,
        now=_pushed("1.9.1").replace("ENV V", "ENV W"),
    ),
    Scene(
        name="push-of-a-backport-from-another-engine",
        applied=(_pushed("1.9.1"), _pushed("2.0.0")),
        since=_lose_images_but_busybox,
        now=_pushed("1.9.2") + run("web", image="{scheme: release, track: latest}"),
    ),
    Scene(
        name="push-of-what-is-pulled",
        now=doc("Image", "app", f"pull: {PULLED}\ntags: [latest]") + released("7.0.1", _PUSH),
    ),
    Scene(name="push-of-what-is-pulled-again", applied=(_MIRRORED,), since=_drop_given, now=_MIRRORED),
    Scene(name="push-of-what-is-pulled-on-another-engine", applied=(_MIRRORED,), since=_lose_images, now=_MIRRORED),
    Scene(name="track-of-a-labelled-version", now=_labelled("1.9.1", "1")),
    Scene(
        name="target-that-follows-a-labelled-version",
        now=_labelled("1.9.1", "1"),
        policy=Policy(targets=frozenset({"Container/proxy"})),
    ),
    Scene(
        name="track-of-the-next-labelled-version",
        applied=(_labelled("1.9.1", "latest"),),
        now=_labelled("2.0.0", "latest").replace("'9000'", "'8000'"),
    ),
    Scene(name="build-on-a-floating-tag", now=_stacked("1.9.1")),
    Scene(name="build-on-a-floating-tag-in-sync", applied=(_stacked("1.9.1"),), now=_stacked("1.9.1")),
    Scene(name="build-on-a-floating-tag-that-moves", applied=(_stacked("1.9.1"),), now=_stacked("1.9.2")),
    Scene(
        name="build-on-a-floating-tag-of-a-higher-version",
        applied=(_stacked("1.9.2"),),
        now=_stacked("1.9.1").replace("law/app:1", "law/app:1.9"),
    ),
    Scene(
        name="target-built-on-a-floating-tag",
        now=_stacked("1.9.1"),
        policy=Policy(targets=frozenset({"Image/app"})),
    ),
    Scene(
        name="track-without-a-tag",
        applied=(_all("1.9.1"),),
        now=_all("2.0.0-rc.1") + run("web", image="{scheme: release, track: '2'}"),
    ),
    Scene(name="network-recreated", applied=(_NETWORK + _ON_IT,), now=_NETWORK + "spec: {internal: true}\n" + _ON_IT),
    Scene(
        name="networks-recreated-in-turn",
        applied=(_NETWORK + doc("Network", "front") + _ON_BOTH,),
        now=doc("Network", "back", "internal: true") + doc("Network", "front", "internal: true") + _ON_BOTH,
    ),
    Scene(
        name="networks-recreated-one-made-on-and-one-lived-on",
        applied=(_NETWORK + doc("Network", "front") + _ON_FRONT, _NETWORK + doc("Network", "front") + _ON_IT),
        now=doc("Network", "back", "internal: true") + doc("Network", "front", "internal: true") + _ON_IT,
    ),
    Scene(
        name="network-recreated-that-it-was-made-on",
        applied=(_NETWORK + doc("Network", "front") + _ON_FRONT, _NETWORK + doc("Network", "front") + _ON_IT),
        since=_stop_web,
        now=_NETWORK + doc("Network", "front", "internal: true") + _ON_IT,
    ),
    Scene(
        name="network-recreated-under-a-stranger",
        applied=(_NETWORK + _ON_IT,),
        since=_stranger_on_it,
        now=_NETWORK + "spec: {internal: true}\n" + _ON_IT,
    ),
    Scene(name="network-removed-by-hand", applied=(_NETWORK + _ON_IT,), since=_remove_network, now=_NETWORK + _ON_IT),
    Scene(
        name="network-and-volume-declared-under-other-names",
        applied=(
            doc("Network", "back") + doc("Volume", "data") + run("web", "networks: [back]\nvolumes: ['data:/d']"),
        ),
        now=doc("Network", "front", "name: law_back")
        + doc("Volume", "store", "name: law_data")
        + run("web", "networks: [front]\nvolumes: ['store:/d']"),
    ),
    Scene(name="network-foreign", since=_strangers_network, now=_NETWORK),
    Scene(name="network-external-missing", now=doc("Network", "back", "external: true")),
    Scene(
        name="network-external-missing-where-drift-is-looked-for",
        now=doc("Network", "back", "external: true"),
        policy=Policy(destroy=True, looks=True),
    ),
    Scene(
        name="network-made-external",
        applied=(_NETWORK + _ON_IT,),
        now=doc("Network", "back", "external: true\nname: law_back") + _ON_IT,
    ),
    Scene(
        name="volume-made-external",
        applied=(_VOLUME + run("web"),),
        now=doc("Volume", "data", "external: true\nname: law_data") + run("web"),
        policy=Policy(delete_volumes=True),
    ),
    Scene(name="volume-foreign", since=_strangers_volume, now=_VOLUME),
    Scene(name="volume-changed", applied=(_VOLUME,), now=_CHANGED_VOLUME),
    Scene(name="volume-recreated", applied=(_VOLUME,), now=_CHANGED_VOLUME, policy=Policy(delete_volumes=True)),
    Scene(name="volume-external-missing", now=doc("Volume", "data", "external: true")),
    Scene(name="prune", applied=(_WHOLE,), now=run("web")),
    Scene(name="prune-with-volumes", applied=(_WHOLE,), now=run("web"), policy=Policy(delete_volumes=True)),
    Scene(name="prune-off", applied=(_WHOLE,), now=run("web"), policy=Policy(prune=False)),
    Scene(name="prune-image-tags", applied=(build("app", spec="tags: [one, two]") + run("web"),), now=run("web")),
    Scene(
        name="prune-an-image-whose-tag-is-still-run",
        applied=(build("app", spec="tags: [one, two]") + run("web", image="{image: app}"),),
        now=run("web", image="law/app:one"),
    ),
    Scene(
        name="prune-an-image-whose-tag-is-run-no-more",
        applied=(
            build("app", spec="tags: [one, two]") + run("web", image="{image: app}"),
            run("web", image="law/app:one"),
        ),
        now=run("web"),
    ),
    Scene(
        name="prune-an-image-whose-tag-is-still-built-on",
        applied=(build("base", spec="tags: [one, two]") + build("app").replace("FROM busybox", "FROM law/base:one"),),
        now=build("app").replace("FROM busybox", "FROM law/base:one"),
    ),
    Scene(name="an-image-with-a-broken-label", since=_break_the_label, now=build("app")),
    Scene(name="take-a-tag-from-another-stack", since=_build_as_another_stack, now=build("app")),
    Scene(
        name="take-a-tag-back-from-another-stack",
        applied=(build("app"),),
        since=_build_as_another_stack,
        now=build("app"),
    ),
    Scene(
        name="a-base-that-was-lost",
        applied=(build("base", spec="tags: [one]") + build("app").replace("FROM busybox", "FROM law/base:one"),),
        since=_lose_the_base,
        now=build("base", spec="tags: [one]") + build("app").replace("FROM busybox", "FROM law/base:one"),
    ),
    Scene(name="delete-budget", applied=(_CROWD,), now=run("c1")),
    Scene(
        name="delete-budget-allowed",
        applied=(run("a") + run("b") + run("web"),),
        now=run("web"),
        policy=Policy(allow_deletes=2),
    ),
    Scene(name="nothing-asked-for", applied=(run("web"),), now=""),
    Scene(name="destroy", applied=(_WHOLE,), now="", policy=Policy(destroy=True)),
    Scene(
        name="destroy-a-target",
        applied=(_WHOLE + run("alone"),),
        now="",
        policy=Policy(destroy=True, targets=frozenset({"Container/alone"})),
    ),
    Scene(
        name="destroy-a-network",
        applied=(_WHOLE + run("alone"),),
        now="",
        policy=Policy(destroy=True, targets=frozenset({"Network/back"})),
    ),
    Scene(
        name="target-beside-a-network-under-a-stranger",
        applied=(_NETWORK + _ON_IT + run("cache"),),
        since=_stranger_on_it,
        now=run("cache", "labels: {a: b}"),
        policy=Policy(targets=frozenset({"Container/cache"})),
    ),
    Scene(
        name="target-beside-another-scheme",
        now=_all("1.9.1")
        + doc("Image", "tool", 'build: {context: ., dockerfile_inline: "FROM busybox\\n"}')
        + doc("TagScheme", "tools", "image: tool\nversion: 1.0.0")
        + run("web", image="{scheme: release, track: '1'}"),
        policy=Policy(targets=frozenset({"Container/web"})),
    ),
)
