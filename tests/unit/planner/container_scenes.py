"""Scenes of containers and jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.plan import Policy
from declarative.core.resources import ContainerSpec, ImageRef, Port, Resources
from declarative.core.state import Owner
from declarative.drivers.memory import Program
from declarative.record import replace
from tests.unit.planner.scenes import Scene, build, doc, job, run

if TYPE_CHECKING:
    from declarative.drivers.memory import MemoryEngine

_TWO_NETS = doc("Network", "front") + doc("Network", "back")
_WEB = run("web")
_EMPTY_COMMAND = build("app") + doc("Container", "web", "image: {image: app}\ncommand: []\nupdate: {monitor: 0s}")
_SHARING = run("db") + run("side", "network_mode: container:db")
_ON_WEB = Policy(targets=frozenset({"Container/web"}))
_ON_DB = Policy(targets=frozenset({"Container/db"}))
_SECRET = "environment: {{PASSWORD: {{secret: {{env: {}}}}}}}"


def _stop(engine: MemoryEngine) -> None:
    engine.stop("law-web-1")


def _stop_both(engine: MemoryEngine) -> None:
    for name in ("law-web-1", "law-web-2"):
        engine.stop(name)


def _pause(engine: MemoryEngine) -> None:
    engine.box("law-web-1").paused = True


def _remove(engine: MemoryEngine) -> None:
    engine.remove("law-web-1", volumes=False)


def _exit(engine: MemoryEngine) -> None:
    engine.box("law-web-1").program = Program(exits_after=0.0, exit_code=3)


def _sicken(engine: MemoryEngine) -> None:
    engine.box("law-web-1").program = Program(unhealthy_after=0.0)


def _limit(engine: MemoryEngine) -> None:
    engine.update("law-web-1", Resources(memory=96 << 20), None)


def _halve(engine: MemoryEngine) -> None:
    """As `docker update --memory 16m` does: swap stays twice what the memory was."""
    engine.update("law-web-1", Resources(memory=16 << 20, memory_swap=64 << 20), None)


def _environment(engine: MemoryEngine) -> None:
    box = engine.box("law-web-1")
    box.spec = replace(box.spec, environment={**box.spec.environment, "A": "theirs"})


def _detach(engine: MemoryEngine) -> None:
    engine.disconnect("law-web-1", "law_default")


def _interrupted_before_the_names(engine: MemoryEngine) -> None:
    web = engine.box("law-web-1")
    engine.create(
        "law-web-1.new", replace(web.spec, image=ImageRef(reference="busybox:latest")), {}, web.owner, web.applied
    )


def _interrupted_between_the_names(engine: MemoryEngine) -> None:
    engine.stop("law-web-1")
    engine.rename("law-web-1", "law-web-1.old")


def _interrupted_after_the_names(engine: MemoryEngine) -> None:
    _interrupted_before_the_names(engine)
    engine.stop("law-web-1")
    engine.rename("law-web-1", "law-web-1.old")
    engine.rename("law-web-1.new", "law-web-1")


def _stranger(engine: MemoryEngine) -> None:
    spec = ContainerSpec(
        image=ImageRef(reference="busybox:latest"), command=("sleep", "1"), ports=(Port(target=80, published=8080),)
    )
    engine.create("law-web-1", spec, {}, None, None)
    engine.start("law-web-1")


def _neighbour(engine: MemoryEngine) -> None:
    spec = ContainerSpec(
        image=ImageRef(reference="busybox:latest"), command=("sleep", "1"), ports=(Port(target=80, published=8080),)
    )
    engine.create("other-web-1", spec, {}, Owner(stack="other", kind="Container", name="web", index=1), {})
    engine.start("other-web-1")


def _stop_db(engine: MemoryEngine) -> None:
    engine.stop("law-db-1")


def _remove_job(engine: MemoryEngine) -> None:
    engine.remove("law-seed-1", volumes=False)


def _remove_volume(engine: MemoryEngine) -> None:
    for name in [name for name, box in engine.containers.items() if box.spec.volumes]:
        engine.remove(name, volumes=False)
    engine.volumes.pop("law_data")


def _change_job(engine: MemoryEngine) -> None:
    engine.update("law-seed-1", Resources(memory=96 << 20), None)
    engine.disconnect("law-seed-1", "law_default")


def _fail_job(engine: MemoryEngine) -> None:
    engine.box("law-seed-1").program = Program(exits_after=0.0, exit_code=9)


def _go_on_with_job(engine: MemoryEngine) -> None:
    engine.box("law-seed-1").program = Program()


_LIMITED = run("web", "resources: {memory: 32m}")
_FREE = "resources: {memory: 32m}\ndrift: {ignore: [spec.resources]}"
_FILLED = doc("Volume", "data") + job("seed", "volumes: ['data:/data']")
_MIGRATED = (
    doc("Volume", "data") + run("db", "volumes: ['data:/data']") + job("seed", "depends_on: {db: {condition: healthy}}")
)
_FIRST = doc("Volume", "data") + run("db", "volumes: ['data:/data', 'data:/seen:ro']").replace(
    "{monitor: 0s}", "{monitor: 0s, order: start-first}"
)
_TWO_STORES = _MIGRATED.replace("['data:/data']", "['data:/data', 'more:/more']") + doc("Volume", "more")

SCENES = (
    Scene(name="nothing-yet", now=_WEB),
    Scene(name="in-sync", applied=(_WEB,), now=_WEB),
    Scene(
        name="replicas-and-dependencies",
        now=run("web", "replicas: 3\ndepends_on: {db: {condition: healthy}, seed: {condition: completed}}")
        + run("db")
        + job("seed", "depends_on: [db]"),
    ),
    Scene(name="scale-up", applied=(_WEB,), now=run("web", "replicas: 3")),
    Scene(name="scale-down", applied=(run("web", "replicas: 3"),), now=_WEB),
    Scene(
        name="environment-changed",
        applied=(run("web", "environment: {A: '1', B: '1'}"),),
        now=run("web", "environment: {A: '2', C: '1'}"),
    ),
    Scene(
        name="rolling-replacement", applied=(run("web", "replicas: 3"),), now=run("web", "replicas: 3\nlabels: {a: b}")
    ),
    Scene(
        name="many-fields-changed",
        applied=(_WEB,),
        now=run("web", "hostname: h\nread_only: true\nuser: nobody\nworking_dir: /tmp\nports: ['8080:80']"),
    ),
    Scene(
        name="changed-in-place",
        applied=(_TWO_NETS + run("web", "networks: [front]\nresources: {memory: 32m, pids: 10}"),),
        now=_TWO_NETS
        + run("web", "networks: {back: {aliases: [w]}}\nresources: {memory: 64m, pids: -1}\nrestart: always"),
    ),
    Scene(name="empty-command", applied=(_EMPTY_COMMAND,), now=_EMPTY_COMMAND),
    Scene(
        name="made-on-a-network-that-goes",
        applied=(_TWO_NETS + run("web", "networks: [front]"), _TWO_NETS + run("web", "networks: [back]")),
        now=doc("Network", "back") + run("web", "networks: [back]"),
    ),
    Scene(
        name="off-the-network-it-was-made-on",
        applied=(_TWO_NETS + run("web", "networks: [front, back]"),),
        now=doc("Network", "back") + run("web", "networks: [back]"),
    ),
    Scene(
        name="aliases-changed",
        applied=(doc("Network", "back") + run("web", "networks: {back: {aliases: [a]}}"),),
        now=doc("Network", "back") + run("web", "networks: {back: {aliases: [b]}}"),
    ),
    Scene(name="limit-lifted", applied=(run("web", "resources: {memory: 32m}"),), now=_WEB),
    Scene(name="pids-limit-lifted", applied=(run("web", "resources: {pids: 9}"),), now=_WEB),
    Scene(
        name="drift-in-place",
        applied=(run("web", "resources: {memory: 32m}"),),
        since=_limit,
        now=run("web", "resources: {memory: 32m}"),
    ),
    Scene(
        name="change-and-drift",
        applied=(run("web", "resources: {memory: 32m}"),),
        since=_limit,
        now=run("web", "resources: {memory: 64m}"),
    ),
    Scene(
        name="change-meets-drift",
        applied=(run("web", "resources: {memory: 32m}"),),
        since=_limit,
        now=run("web", "resources: {memory: 96m}"),
    ),
    Scene(
        name="drift-that-replaces",
        applied=(run("web", "environment: {A: '1'}"),),
        since=_environment,
        now=run("web", "environment: {A: '1'}"),
    ),
    Scene(
        name="drift-ignored",
        applied=(run("web", "resources: {memory: 32m}\ndrift: {ignore: [spec.resources]}"),),
        since=_limit,
        now=run("web", "resources: {memory: 32m}\ndrift: {ignore: [spec.resources]}"),
    ),
    Scene(name="limit-halved-by-hand", applied=(_LIMITED,), since=_halve, now=_LIMITED),
    Scene(
        name="drift-ignored-with-what-follows-from-it",
        applied=(_LIMITED + "  drift: {ignore: [spec.resources.memory]}\n",),
        since=_halve,
        now=_LIMITED + "  drift: {ignore: [spec.resources.memory]}\n",
    ),
    Scene(
        name="drift-ignored-beside-an-image-to-build",
        applied=(build("app") + run("web", _FREE, image="{image: app}"),),
        since=_limit,
        now=build("app", "ENV A=2") + run("web", _FREE, image="{image: app}"),
    ),
    Scene(name="network-taken-off", applied=(_WEB,), since=_detach, now=_WEB),
    Scene(name="stopped", applied=(_WEB,), since=_stop, now=_WEB),
    Scene(name="paused", applied=(_WEB,), since=_pause, now=_WEB),
    Scene(name="removed", applied=(_WEB,), since=_remove, now=_WEB),
    Scene(
        name="stopped-and-changed",
        applied=(run("web", "replicas: 2\nresources: {memory: 32m}"),),
        since=_stop_both,
        now=run("web", "replicas: 3\nresources: {memory: 64m}"),
    ),
    Scene(name="exited", applied=(_WEB,), since=_exit, now=_WEB),
    Scene(
        name="keeps-exiting", applied=(run("web", "restart: always"),), since=_exit, now=run("web", "restart: always")
    ),
    Scene(
        name="unhealthy",
        applied=(run("web", "healthcheck: {test: 'true'}"),),
        since=_sicken,
        now=run("web", "healthcheck: {test: 'true'}"),
    ),
    Scene(name="start-first-with-a-volume", applied=(_FIRST,), now=_FIRST.replace("9000", "9001")),
    Scene(
        name="start-first-of-several-with-a-volume",
        applied=(_FIRST.replace("update:", "replicas: 2\n  update:"),),
        now=_FIRST.replace("update:", "replicas: 2\n  update:").replace("9000", "9001"),
    ),
    Scene(
        name="start-first-with-a-port",
        applied=(_FIRST.replace("update:", "ports: ['80:80']\n  update:"),),
        now=_FIRST.replace("update:", "ports: ['80:80']\n  update:").replace("9000", "9001"),
    ),
    Scene(name="stopped-and-changed-in-place", applied=(_WEB,), since=_stop, now=run("web", "restart: always")),
    Scene(
        name="namespace-owner-replaced",
        applied=(_SHARING,),
        now=_SHARING.replace("update", "labels: {a: b}\n  update", 1),
    ),
    Scene(name="namespace-owner-stopped", applied=(_SHARING,), since=_stop_db, now=_SHARING),
    Scene(
        name="namespace-owner-stopped-and-changed",
        applied=(_SHARING,),
        since=_stop_db,
        now=_SHARING.replace("update", "resources: {pids: 60}\n  update", 1),
    ),
    Scene(
        name="namespace-owner-stopped-and-both-changed",
        applied=(_SHARING,),
        since=_stop_db,
        now=_SHARING.replace("update", "resources: {pids: 60}\n  update"),
    ),
    Scene(
        name="off-the-default-bridge",
        applied=(_TWO_NETS + run("web", "network_mode: bridge"),),
        now=_TWO_NETS + run("web", "networks: [front]"),
    ),
    Scene(name="leftover-new", applied=(_WEB,), since=_interrupted_before_the_names, now=_WEB),
    Scene(
        name="leftover-new-and-replace",
        applied=(_WEB,),
        since=_interrupted_before_the_names,
        now=run("web", "labels: {a: b}"),
    ),
    Scene(name="leftover-old-alone", applied=(_WEB,), since=_interrupted_between_the_names, now=_WEB),
    Scene(name="leftover-old", applied=(_WEB,), since=_interrupted_after_the_names, now=_WEB),
    Scene(name="renamed", applied=(_WEB,), now=run("web", "container_name: the-web")),
    Scene(name="foreign-container", since=_stranger, now=_WEB),
    Scene(name="adopted", since=_stranger, now=_WEB, policy=Policy(adopt=frozenset({"Container/web"}))),
    Scene(name="port-of-a-stranger", since=_neighbour, now=run("web", "ports: ['8080:80']")),
    Scene(
        name="secret-changed",
        applied=(run("web", _SECRET.format("PASSWORD")),),
        now=run("web", _SECRET.format("TOKEN")),
    ),
    Scene(
        name="secret-becomes-plain",
        applied=(run("web", _SECRET.format("PASSWORD")),),
        now=run("web", "environment: {PASSWORD: plain}"),
    ),
    Scene(
        name="file-changed",
        applied=(run("web", "files: [{target: /etc/a, content: one}]"),),
        now=run("web", "files: [{target: /etc/a, content: two, mode: '0400'}]"),
    ),
    Scene(
        name="secret-file-changed",
        applied=(run("web", "files: [{target: /etc/a, secret: {env: PASSWORD}}]"),),
        now=run("web", "files: [{target: /etc/a, secret: {env: TOKEN}}]"),
    ),
    Scene(
        name="targets",
        applied=(_WEB,),
        now=run("web", "labels: {a: b}\ndepends_on: [db]") + run("db") + run("other"),
        policy=Policy(targets=frozenset({"Container/web"})),
    ),
    Scene(
        name="target-beside-what-left",
        applied=(run("web") + run("olddb") + run("cache"),),
        now=run("web", "environment: {A: '1'}") + run("cache"),
        policy=_ON_WEB,
    ),
    Scene(
        name="target-beside-a-crowd-that-left",
        applied=(run("web", "replicas: 2") + "".join(run(f"c{number}") for number in range(7)),),
        now=run("web", "replicas: 2\nlabels: {a: b}"),
        policy=_ON_WEB,
    ),
    Scene(name="target-that-left", applied=(run("web") + run("db"),), now=run("cache"), policy=_ON_WEB),
    Scene(name="target-beside-a-foreign-one", since=_stranger, now=_WEB + run("db"), policy=_ON_DB),
    Scene(
        name="target-that-needs-a-foreign-one",
        since=_stranger,
        now=_WEB + run("db", "depends_on: [web]"),
        policy=_ON_DB,
    ),
    Scene(
        name="target-with-a-changed-dependency",
        applied=(run("web", "depends_on: [db]") + run("db"),),
        now=run("web", "depends_on: [db]") + run("db", "labels: {a: b}") + run("other"),
        policy=_ON_WEB,
    ),
    Scene(
        name="target-on-a-changed-network",
        applied=(_TWO_NETS + run("web", "networks: [back]") + run("olddb", "networks: [back]"),),
        now=doc("Network", "front") + doc("Network", "back", "internal: true") + run("web", "networks: [back]"),
        policy=_ON_WEB,
    ),
    Scene(name="unknown-target", now=_WEB, policy=Policy(targets=frozenset({"Job/web", "Container/wbe"}))),
    Scene(name="job-done", applied=(job("seed"),), now=job("seed")),
    Scene(name="job-changed", applied=(job("seed"),), now=job("seed", command="'true', again")),
    Scene(
        name="job-with-a-new-image",
        applied=(build("app") + job("seed", image="{image: app}"),),
        now=build("app", "ENV A=2") + job("seed", image="{image: app}"),
    ),
    Scene(name="job-record-removed", applied=(job("seed"),), since=_remove_job, now=job("seed")),
    Scene(
        name="job-record-removed-and-changed",
        applied=(job("seed"),),
        since=_remove_job,
        now=job("seed", command="'true', again"),
    ),
    Scene(
        name="job-failed", applied=(job("seed"),), since=_fail_job, now=job("seed") + run("web", "depends_on: [seed]")
    ),
    Scene(name="job-whose-volume-was-removed", applied=(_FILLED,), since=_remove_volume, now=_FILLED),
    Scene(name="job-whose-database-was-removed", applied=(_MIGRATED,), since=_remove_volume, now=_MIGRATED),
    Scene(
        name="job-whose-database-is-recreated",
        applied=(_MIGRATED,),
        now=_MIGRATED.replace("name: data}", "name: data}\nspec: {labels: {a: b}}"),
        policy=Policy(delete_volumes=True),
    ),
    Scene(
        name="job-whose-database-kept-a-volume",
        applied=(_TWO_STORES,),
        since=_remove_volume,
        now=_TWO_STORES,
    ),
    Scene(name="job-changed-by-hand", applied=(job("seed"),), since=_change_job, now=job("seed")),
    Scene(
        name="job-changed-and-changed-by-hand",
        applied=(job("seed"),),
        since=_change_job,
        now=job("seed", command="'true', again"),
    ),
    Scene(name="job-goes-on", applied=(job("seed"),), since=_go_on_with_job, now=job("seed")),
)
