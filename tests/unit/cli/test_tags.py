"""The table of tags, from previews made by hand and by the planner."""

from __future__ import annotations

import io

from declarative.cli.screen import Screen
from declarative.cli.tags import document, show
from declarative.core.planner.preview import PlacePreview, SchemePreview, TagPreview, TagRow, preview
from declarative.core.resources import Desired, Image, ImageSpec, PullSource, TagScheme, TagSchemeSpec
from declarative.core.state import Actual, ImageState
from declarative.errors import Invalid
from declarative.manifest import schema

OLD, NEW = "sha256:" + "0" * 64, "sha256:" + "1" * 64


def printed(found: TagPreview) -> str:
    stream = io.StringIO()
    show(found, Screen(stream=stream))
    return stream.getvalue()


def stack(version: str, *, label: str = "") -> Desired:
    spec = ImageSpec(source=PullSource(reference="there:new"), repository="shop/app")
    scheme = TagSchemeSpec(image="app", repository="shop/app", version=version, version_label=label)
    return Desired(
        stack="shop",
        images={"app": Image(name="app", spec=spec)},
        schemes={"rel": TagScheme(name="rel", spec=scheme)},
    )


def engine(**tags: str) -> Actual:
    references = {f"shop/app:{tag}".replace("_", "."): content for tag, content in tags.items()}
    references["there:new"] = NEW
    images = {content: ImageState(id=content) for content in references.values()}
    return Actual(stack="shop", references=references, images=images)


def test_a_backport_moves_its_own_tags_and_is_told_who_holds_the_others() -> None:
    found = preview(stack("1.8.7"), engine(**{"2": OLD, "2_0_1": OLD, "latest": OLD, "1_8": OLD, "1_8_6": OLD}))
    rows = {row.tag: row for row in found.schemes[0].places[0].rows}
    assert {tag: row.action for tag, row in rows.items()} == {
        "1": "create",
        "1.8": "move",
        "1.8.7": "create",
        "latest": "hold",
    }
    assert rows["latest"].version == "2.0.1"
    text = printed(found)
    assert "TagScheme/rel: shop/app 1.8.7\n  in the engine\n" in text
    assert "stays" in next(line for line in text.splitlines() if "latest" in line)
    assert not found.in_sync


def test_nothing_to_do_is_in_sync() -> None:
    found = preview(stack("1.0.0"), engine(**{"1": NEW, "1_0": NEW, "1_0_0": NEW, "latest": NEW}))
    assert found.in_sync
    assert {row.action for row in found.schemes[0].places[0].rows} == {"keep"}


def test_a_version_that_is_not_known_yet_is_said_so() -> None:
    desired = stack("", label="version")
    found = preview(desired, Actual(stack="shop"))
    assert "yet to be made" in printed(found)
    assert not found.in_sync


def test_a_conflict_is_listed_with_both_digests() -> None:
    found = preview(stack("1.0.0"), engine(**{"1_0_0": OLD}))
    errors = document("shop", "docker", found)["errors"]
    assert OLD in errors[0]["problem"]
    assert NEW in errors[0]["problem"]
    assert "see the errors" in printed(found)


def test_every_form_of_a_row_fits_the_schema() -> None:
    rows = (
        TagRow(tag="1", action="create", now=None, after=None, cause="new version", version="1.0.0"),
        TagRow(tag="0", action="remove", now=OLD, after=None, cause="no longer a level"),
        TagRow(tag="latest", action="hold", now=None, after=None, cause="belongs to 2.0.0", version="2.0.0"),
        TagRow(tag="2", action="move", now=None, after=NEW, cause="newer version", version="2.0.0"),
    )
    place = PlacePreview(where="registry", content=None, rows=rows)
    scheme = SchemePreview(name="rel", repository="shop/app", version="1.0.0", places=(place,))
    found = TagPreview(schemes=(scheme,), problems=(Invalid("a", "b"),))
    schema.validate("tags", document("shop", "docker", found), "tags")
    lines = [line.split() for line in printed(found).splitlines()[3:]]
    assert lines == [
        ["1", "-", "1.0.0", "(to", "be", "built)", "new", "version"],
        ["0", "000000000000", "removed", "no", "longer", "a", "level"],
        ["latest", "-", "-", "belongs", "to", "2.0.0"],
        ["2", "?", "2.0.0", "(111111111111)", "newer", "version"],
    ]
