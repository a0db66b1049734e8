"""Saved plans: `plan --out FILE`, `apply FILE`.

A file holds what the plan was made from (rendered manifests, policy) and what it was based on (a digest of every object its
steps touch, and the steps' text). Applying one plans anew from the same manifests, and refuses unless it comes to the same: so
a file can never do anything else than what was shown. Secrets are not in it: they are read again from where they come from.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from declarative.apply.manifests import files_of, read_back
from declarative.core.fingerprint import fingerprint
from declarative.core.plan import Policy
from declarative.core.plan_document import plan_document
from declarative.core.planner.refusal import Refused
from declarative.errors import Conflict, DeclarativeError, Invalid, NotFound, reason_of
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from declarative.core.plan import Plan
    from declarative.core.state import Actual
    from declarative.manifest.load import Loaded, LoadOptions

FORMAT = "declarative/saved-plan/v1"


@record
class SavedPlan:
    """A plan as it was saved. `touched`: object → digest of its state; `steps`: their JSON form, without places."""

    name: str
    engine: str
    policy: Policy
    files: Mapping[str, str]
    touched: Mapping[str, str]
    steps: list[dict[str, Any]]

    def read_manifests(self, options: LoadOptions) -> Loaded:
        """Read the manifests that the plan was made from."""
        return read_back(self.files, options)


def save(path: Path, plan: Plan, actual: Actual, loaded: Loaded, policy: Policy, *, engine: str) -> None:
    """Write a plan to a file, whole or not at all. `engine`: the address of the engine that it was made for."""
    document = {
        "format": FORMAT,
        "engine": engine,
        "policy": _policy_document(policy),
        "touched": fingerprint(actual, _touched(plan)),
        "files": files_of(loaded),
        "plan": plan_document(plan),
    }
    write_whole(path, json.dumps(document, indent=1, sort_keys=True) + "\n")


def load(path: Path) -> SavedPlan:
    """Read a saved plan. Raises NotFound, Invalid."""
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != FORMAT:
            raise Invalid(str(path), f"is a saved plan of another version ({document['format']})", "plan anew")
        return SavedPlan(
            name=str(path),
            engine=str(document["engine"]),
            policy=_read_policy(document["policy"]),
            files={str(name): str(text) for name, text in document["files"].items()},
            touched={str(name): str(digest) for name, digest in document["touched"].items()},
            steps=_placeless(document["plan"]),
        )
    except FileNotFoundError:
        raise NotFound(str(path), "there is no such file", "save a plan with `declarative plan --out FILE`") from None
    except OSError as error:
        raise Invalid(str(path), f"cannot be read: {reason_of(error)}") from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        remedy = "save one with `declarative plan --out FILE`; manifests are named with -f"
        raise Invalid(str(path), "is not a saved plan", remedy) from None


def check_engine(saved: SavedPlan, engine: str) -> None:
    """Raise Conflict unless `engine` is the address of the engine that the plan was made for."""
    if saved.engine != engine:
        problem = f"was made for the engine at {saved.engine}, and this is {engine}"
        raise Conflict(saved.name, problem, "name that one with --engine, or plan anew for this one")


def still_fits(saved: SavedPlan, plan: Plan, actual: Actual) -> None:
    """Raise Refused naming every object that has changed since, or the first step that would be another one."""
    now = fingerprint(actual, saved.touched)
    problems: list[DeclarativeError] = [
        Conflict(name, "has changed since the plan was saved", "plan anew and look at the difference")
        for name, digest in saved.touched.items()
        if now[name] != digest
    ]
    if not problems:
        problems += _drifted_since(saved, plan) or _other_steps(saved, plan)
    if problems:
        raise Refused(tuple(problems))


def _drifted_since(saved: SavedPlan, plan: Plan) -> list[DeclarativeError]:
    """Name what the saved plan left alone, for it was as it should be, and what would be mended now beside that."""
    problem, remedy = (
        "has drifted since the plan was saved, and would be mended with it",
        "plan anew and look at the difference",
    )
    return [
        Conflict(step.label, f"{problem}: {step.cause}", remedy)
        for step in plan.steps
        if step.origin != "change" and step.touches and not saved.touched.keys() & set(step.touches)
    ]


def _other_steps(saved: SavedPlan, plan: Plan) -> list[DeclarativeError]:
    """Compare what would be done with what was shown: files, secrets or build contexts may have changed."""
    shown, made = saved.steps, _placeless(plan_document(plan))
    if shown == made:
        return []
    pairs = (step for index, step in enumerate(made) if index >= len(shown) or shown[index] != step)
    first = next(pairs, None) or shown[len(made)]
    subject = f"{first['kind']}/{first['name']}"
    problem = f"what the plan would do has changed since it was saved (step {first['id']}: {first['action']})"
    return [Conflict(subject, problem, "a file it reads has changed: plan anew and look at the difference")]


def _placeless(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the steps without their places: rendered manifests have other line numbers."""
    return [
        {
            **step,
            **{key: step[key] for key in ("id", "action", "kind", "name")},
            "source": "",
            "changes": [{**change, "source": ""} for change in step["changes"]],
        }
        for step in document["steps"]
    ]


def _touched(plan: Plan) -> list[str]:
    return [name for step in plan.steps for name in step.touches]


def _policy_document(policy: Policy) -> dict[str, Any]:
    return {
        "targets": sorted(policy.targets),
        "allow_deletes": policy.allow_deletes,
        "delete_volumes": policy.delete_volumes,
        "allow_retag": policy.allow_retag,
        "adopt": sorted(policy.adopt),
        "prune": policy.prune,
    }


def _read_policy(document: Mapping[str, Any]) -> Policy:
    return Policy(
        targets=frozenset(document["targets"]),
        allow_deletes=document["allow_deletes"],
        delete_volumes=bool(document["delete_volumes"]),
        allow_retag=bool(document["allow_retag"]),
        adopt=frozenset(document["adopt"]),
        prune=bool(document["prune"]),
    )


def write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody ever sees half of it. Raises Invalid where it cannot be written."""
    import os

    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise Invalid(str(path), f"cannot be written: {reason_of(error)}", "choose another file") from error
