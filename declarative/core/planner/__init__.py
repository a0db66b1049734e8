"""`plan(desired, actual, policy)`: a pure function from two states to the steps between them. It asks nobody and calls nothing.

One file per kind; each looks at its own resources and adds steps to a `Draft`, which ties them together by what they
provide and need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.plan import Policy
from declarative.core.planner.containers import ContainerPlanner
from declarative.core.planner.draft import Draft
from declarative.core.planner.handover import order_handovers
from declarative.core.planner.holders import Holders
from declarative.core.planner.images import ImagePlanner
from declarative.core.planner.jobs import plan_jobs
from declarative.core.planner.prune import check_budget, plan_prune
from declarative.core.planner.resolve import ImageResolver
from declarative.core.planner.rivals import note_taken
from declarative.core.planner.stores import plan_networks, plan_volumes

if TYPE_CHECKING:
    from declarative.core.plan import Plan
    from declarative.core.planner.publish import TagPlanner
    from declarative.core.resources import Desired
    from declarative.core.state import Actual


def plan(desired: Desired, actual: Actual, policy: Policy | None = None) -> Plan:
    """Decide every step from `actual` to `desired`. Raises Refused with every reason not to go on."""
    draft = Draft(desired=desired, actual=actual, policy=policy or Policy(), holders=Holders.of(actual))
    images = ImagePlanner(draft)
    tags = _tag_planner(draft, images)
    for name in desired.images:
        images.image(name)
    if tags is not None:
        tags.plan()
    plan_networks(draft)
    recreated = plan_volumes(draft)
    resolver = ImageResolver(images, tags)
    plan_jobs(draft, resolver, recreated)
    ContainerPlanner(draft, resolver, recreated).plan()
    images.defer()
    note_taken(draft)
    plan_prune(draft)
    order_handovers(draft)
    check_budget(draft)
    return draft.finish()


def _tag_planner(draft: Draft, images: ImagePlanner) -> TagPlanner | None:
    """Make what plans the TagSchemes; None where there is none, as in most stacks: versions take 3 ms to load."""
    if not draft.desired.schemes:
        return None
    from declarative.core.planner.publish import TagPlanner

    return TagPlanner(draft, images)
