"""Templates: typed scalars, what is in scope, what goes wrong and where, and what is bounded."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from declarative.errors import Problem, Usage
from declarative.manifest.documents import Loaded, Options, load
from declarative.manifest.scope import apply_set, merge
from declarative.manifest.sources import Source
from declarative.manifest.yaml_nodes import Mapping, Scalar, to_plain

STACK = """kind: Stack
metadata: {name: shop}
spec:
  env: [HOME, EMPTY, UNSET, BYTES]
  values:
    port: 8080
    items: [a, b]
    db: {host: local, user: root}
---
"""
ENVIRON = {"HOME": "/home/me", "EMPTY": "", "PATH": "/bin", "BYTES": os.fsdecode(b"v\xff")}


def run(*texts: str, folder: Path = Path("/shop"), **options: Any) -> Loaded:
    """Load texts as a.yaml, b.yaml, …; one that starts with `#j2` is a template of a whole file."""
    sources = []
    for number, text in enumerate(texts):
        name = f"{chr(97 + number)}.yaml" + (".j2" if text.startswith("#j2") else "")
        sources.append(Source(name=name, text=text, folder=folder))
    made = Options(working_folder=folder, environ=ENVIRON, **options)
    return load(sources, made)


def render(text: str, **options: Any) -> object:
    """Give what the field `a: TEXT` of a document beside the Stack becomes."""
    loaded = run(f"{STACK}a: {text}\n", **options)
    assert not loaded.problems, loaded.problems
    value = to_plain(loaded.documents[0].root)
    assert isinstance(value, dict)
    return value["a"]


def complaint(text: str, **options: Any) -> Problem:
    """Give the only problem of the field `a: TEXT`, which stands in line 10."""
    loaded = run(f"{STACK}a: {text}\n", **options)
    assert len(loaded.problems) == 1, loaded.problems
    return loaded.problems[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'{{ values.port }}'", 8080),
        ('"{{ values.port + 1 }}"', 8081),
        ("'{{ values.port }}/tcp'", "8080/tcp"),
        ("' {{ values.port }}'", " 8080"),
        ("'{{ values.port }}{{ values.port }}'", "80808080"),
        ("'{{ values.db }}'", {"host": "local", "user": "root"}),
        ("'{{ values[\"items\"] }}'", ["a", "b"]),
        ("'{{ values.items | map(\"upper\") }}'", ["A", "B"]),
        ("'{{ values.items.0 }}'", "a"),
        ("'{{ range(3) }}'", [0, 1, 2]),
        ("'{{ values.port > 80 }}'", True),
        ("'{{ none }}'", None),
        ("'debug = {{ values.port > 80 }}'", "debug = true"),
        ("'{{ false }}, {{ none }}{{ values.nothing | default(true) }}'", "false, nulltrue"),
        ("'{{ \"x\" ~ true }}'", "xtrue"),
        ("'{{ \"8080\" }}'", "8080"),
        ("'{{ values.port | string }}'", "8080"),
        ("'{{ 1.5 }}'", 1.5),
        ("'{{ stack.name }}'", "shop"),
        ("'{{ env.HOME }}'", "/home/me"),
        ("'{{ env.EMPTY }}'", ""),
        ("'{{ env.UNSET | default(\"x\") }}'", "x"),
        ("'{{ values.nothing | default(80) }}'", 80),
        ("'{{ values.nothing is defined }}'", False),
        ("'{% if values.port %}yes{% endif %}'", "yes"),
        ("'{# nothing #}'", ""),
        ("'{{ \"{{ x }}\" }}'", "{{ x }}"),
        ("plain", "plain"),
        ("80", 80),
        ("|\n  {% for item in values.items -%}\n  {{ item }}\n  {%- endfor %}", "ab\n"),
        ("['{{ values.port }}', {b: '{{ values.port }}'}]", [8080, {"b": 8080}]),
        ("'{{ values.port | default(4294967296) }}'", 8080),
        ("'{{ 4294967296 | string }}'", "4294967296"),
    ],
)
def test_one_expression_keeps_its_type_and_everything_else_is_text(text: str, value: object) -> None:
    given = render(text)
    assert given == value
    assert type(given) is type(value)


def test_what_a_template_gives_stands_where_the_template_stands() -> None:
    loaded = run(f"{STACK}b: 1\na: '{{{{ values.db }}}}'\n")
    document = loaded.documents[0]
    node = document.root.items["a"]
    assert isinstance(node, Mapping)
    assert str(document.span(node)) == str(document.span(node.items["host"])) == "a.yaml:11:4"
    assert document.problem(node.keys["host"], "", "x").snippet.splitlines()[1].startswith("11 | a: '{{")


def test_a_document_without_templates_is_given_back_untouched() -> None:
    loaded = run("kind: Image\na: {b: [1, x]}\n", "kind: Image\nc: '{{ stack.name }}'\nd: &d [1]\n")
    assert not loaded.documents[1].templated
    kept = loaded.documents[1].root.items["d"]
    assert to_plain(kept) == [1]


# --- values, in their order -----------------------------------------------------------------------------------------------------


def test_values_come_from_the_stack_then_the_files_then_set(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("port: 1\ndb: {host: one, name: x}\nitems: [c]\n")
    (tmp_path / "two.yaml").write_text("db: {host: two}\nliteral: '{{ x }}'\n")
    options: dict[str, object] = {
        "folder": tmp_path,
        "values_files": ("one.yaml", "two.yaml"),
        "sets": ("port=9", "items.1=d"),
    }
    assert render("'{{ values }}'", **options) == {
        "port": 9,
        "items": ["c", "d"],
        "db": {"host": "two", "user": "root", "name": "x"},
        "literal": "{{ x }}",
    }


def test_values_work_without_a_stack_document() -> None:
    loaded = run("a: '{{ values.x }}-{{ stack.name }}'\n", sets=("x=1",), folder=Path("/srv/My Shop_2"))
    assert to_plain(loaded.documents[0].root) == {"a": "1-myshop_2"}


@pytest.mark.parametrize(
    ("assignment", "values"),
    [
        ("a=1", {"a": 1}),
        ("a=x=y", {"a": "x=y"}),
        ("a.b.c=true", {"a": {"b": {"c": True}}}),
        ("a='1'", {"a": "1"}),
        ('a="x y"', {"a": "x y"}),
        ("a=", {"a": ""}),
        ("a=null", {"a": None}),
        ("a=no", {"a": "no"}),
        ("a=1.10", {"a": 1.1}),
        (r"a\.b=1", {"a.b": 1}),
        ("a=[1]", {"a": "[1]"}),
    ],
)
def test_set_is_typed_as_a_yaml_scalar(assignment: str, values: object) -> None:
    assert apply_set({}, assignment) == values


def test_set_reaches_into_lists() -> None:
    start = {"a": [{"b": 1}, 2]}
    assert apply_set(start, "a.0.b=5") == {"a": [{"b": 5}, 2]}
    assert apply_set(start, "a.2=3") == {"a": [{"b": 1}, 2, 3]}
    assert start == {"a": [{"b": 1}, 2]}


@pytest.mark.parametrize("assignment", ["a", "=1", ".a=1", "a..b=1", "a.=1", "l.5=1", "l.x=1", "s.x=1", "a\\=1", ""])
def test_a_set_that_cannot_be_applied_is_wrong_usage(assignment: str) -> None:
    with pytest.raises(Usage) as caught:
        apply_set({"l": [1], "s": "text"}, assignment)
    assert caught.value.remedy
    assert f"--set {assignment}" in str(caught.value)


def test_a_set_that_is_not_text_is_wrong_usage() -> None:
    with pytest.raises(Usage, match="--set a: is not UTF-8 text"):
        apply_set({}, "a=\udcff")


def test_merge_goes_into_mappings_and_replaces_the_rest() -> None:
    assert merge({"a": {"b": 1, "c": [1]}}, {"a": {"c": [2], "d": 3}}) == {"a": {"b": 1, "c": [2], "d": 3}}
    assert merge({"a": {"b": 1}}, {"a": None}) == {"a": None}


def test_a_bad_values_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("a: [1\n")
    (tmp_path / "list.yaml").write_text("- a\n")
    (tmp_path / "two.yaml").write_text("a: 1\n---\nb: 1\n")
    loaded = run(STACK, folder=tmp_path, values_files=("bad.yaml", "list.yaml", "none.yaml", "two.yaml"))
    assert [str(problem.span or problem.subject) for problem in loaded.problems] == [
        "none.yaml",
        "bad.yaml:1:4",
        "list.yaml:1:1",
        "two.yaml:3:1",
    ]


# --- the Stack ------------------------------------------------------------------------------------------------------------------


def test_the_stack_may_use_what_is_known_before_it() -> None:
    text = """kind: Stack
metadata: {name: "shop-{{ env.HOME | replace('/', '') }}"}
spec:
  env: [HOME]
  values: {bucket: "{{ stack.name }}-data", literal: "{{ '{{ x }}' }}"}
  engine: "{{ values.bucket }}"
  max_deletes: "{{ 3 }}"
"""
    loaded = run(text, "b: '{{ values.literal }}'\n")
    assert not loaded.problems
    assert loaded.stack is not None
    assert to_plain(loaded.stack.root.items["spec"]) == {
        "env": ["HOME"],
        "values": {"bucket": "shop-homeme-data", "literal": "{{ x }}"},
        "engine": "shop-homeme-data",
        "max_deletes": 3,
    }
    assert loaded.stack_name == "shop-homeme"
    assert to_plain(loaded.documents[0].root) == {"b": "{{ x }}"}


def test_the_name_on_the_command_line_wins() -> None:
    assert render("'{{ stack.name }}'", stack="other") == "other"
    assert run(STACK, stack="other").stack_name == "other"


def test_a_folder_that_gives_no_name_is_told() -> None:
    loaded = run("a: 1\n", folder=Path("/"))
    assert [problem.remedy for problem in loaded.problems] == ["give one with --stack, or in a Stack document"]


def test_a_second_stack_is_refused_and_the_first_is_named() -> None:
    loaded = run("kind: Stack\n", "kind: Stack\n")
    assert [str(problem).splitlines()[0] for problem in loaded.problems] == [
        "Stack: there is a second Stack, the first is at a.yaml:1:1 — keep one of them (b.yaml:1:1)"
    ]


def test_values_cannot_use_values() -> None:
    loaded = run("kind: Stack\nspec:\n  values: {a: 1, b: '{{ values.a }}'}\n")
    assert "own values are being read" in loaded.problems[0].text


# --- whole files ----------------------------------------------------------------------------------------------------------------


def test_a_j2_file_is_rendered_as_a_whole_and_once() -> None:
    body = "---\nname: {{ name }}\nport: {{ values.port }}\nraw: \"{{ '{{ x }}' }}\"\n"
    text = f"#j2\n{{% for name in values.items %}}\n{body}{{% endfor %}}\n"
    loaded = run(STACK, text)
    assert not loaded.problems
    assert [to_plain(document.root) for document in loaded.documents] == [
        {"name": "a", "port": 8080, "raw": "{{ x }}"},
        {"name": "b", "port": 8080, "raw": "{{ x }}"},
    ]


def test_a_value_cannot_inject_a_template() -> None:
    loaded = run(STACK, "#j2\na: '{{ values.evil }}'\n", "b: '{{ values.evil }}'\n", sets=("evil={{ env.HOME }}",))
    assert not loaded.problems
    assert [to_plain(document.root) for document in loaded.documents] == [
        {"a": "{{ env.HOME }}"},
        {"b": "{{ env.HOME }}"},
    ]


def test_a_j2_file_spells_words_as_yaml_does() -> None:
    loaded = run(STACK, "#j2\na: '{{ values.on }}'\nb: {{ values.on }}\nc: {{ values.no }}\n", sets=("on=True", "no=~"))
    assert not loaded.problems
    assert to_plain(loaded.documents[0].root) == {"a": "true", "b": True, "c": None}


def test_a_fault_in_a_j2_file_is_told_at_its_line() -> None:
    loaded = run(STACK, "#j2\nx: 1\na: {{ values.prot }}\n")
    assert len(loaded.problems) == 1
    assert str(loaded.problems[0]) == (
        "`values.prot` is not defined — did you mean `values.port`? (b.yaml.j2:3:14)\n"
        "2 | x: 1\n3 | a: {{ values.prot }}\n  |              ^^^^"
    )
    wrong = run(STACK, "#j2\nx: 1\n{% if x %}\n").problems[0]
    assert str(wrong.span) == "b.yaml.j2:3"


def test_bad_yaml_behind_a_j2_file_is_told_in_the_rendered_text() -> None:
    problem = run(STACK, "#j2\n{% for name in values.items %}\na: b: {{ name }}\n{% endfor %}\n").problems[0]
    assert str(problem.span) == "b.yaml.j2 (rendered):3:5"
    assert "3 | a: b: a" in problem.snippet


def test_a_stack_in_a_j2_file_is_refused() -> None:
    assert (
        run("#j2\nkind: Stack\n").problems[0].text
        == "a Stack cannot stand in a template: it says what templates may use"
    )


# --- what goes wrong ------------------------------------------------------------------------------------------------------------

UNDEFINED = {
    "'{{ values.prot }}'": ("`values.prot` is not defined", "did you mean `values.port`?"),
    "'{{ values.db.hots }}'": ("`values.db.hots` is not defined", "did you mean `values.db.host`?"),
    "'x {{ port }}'": ("`port` is not defined", "did you mean `values.port`?"),
    "'{{ valeus.port }}'": ("`valeus` is not defined", "did you mean `values`?"),
    "'{{ zzz }}'": ("`zzz` is not defined", "in scope are `env`, `git`, `stack`, `values`"),
    "'{{ values.zzz.y }}'": (
        "`values.zzz` is not defined",
        "set it in the Stack's `values`, in a --values file, or with --set zzz=…",
    ),
    "'{{ range(values.prot) }}'": ("`values.prot` is not defined", "did you mean `values.port`?"),
    "'{{ values.prot | tojson }}'": ("`values.prot` is not defined", "did you mean `values.port`?"),
    "'{{ {\"a\": [values.prot]} | tojson }}'": ("`values.prot` is not defined", "did you mean `values.port`?"),
    "'{{ [values.prot] }}'": ("`values.prot` is not defined", "did you mean `values.port`?"),
    "'{{ values.items | map(attribute=\"x\") }}'": ("`x` is not defined", "check what stands before the dot"),
    "'{{ stack.nam }}'": ("`stack.nam` is not defined", "did you mean `stack.name`?"),
    "'{{ git.comit }}'": ("`git.comit` is not defined", "did you mean `git.commit`?"),
    "'{{ env.PATH }}'": (
        "`env.PATH`: the Stack does not list this variable",
        "list it in the Stack's spec: `env: [PATH]`",
    ),
    "'{{ env.PATH | default(1) }}'": (
        "`env.PATH`: the Stack does not list this variable",
        "list it in the Stack's spec: `env: [PATH]`",
    ),
    "'{{ env.UNSET }}'": (
        "`env.UNSET` is not set in the environment",
        "set it, or give a default: `{{ … | default('x') }}`",
    ),
    "'{{ env.HOEM }}'": (
        "`env.HOEM`: the Stack does not list this variable",
        "did you mean `env.HOME`? Otherwise list it in the Stack's spec: `env: [HOEM]`",
    ),
}


@pytest.mark.parametrize("text", UNDEFINED)
def test_an_undefined_name_is_told_with_what_was_meant(text: str) -> None:
    problem = complaint(text)
    assert (problem.text, problem.remedy) == UNDEFINED[text]
    assert str(problem.span) == "a.yaml:10:4"
    assert "^" in problem.snippet


WRONG = {
    "'{{ 1 + }}'": "the template is wrong",
    "'{% if x %}'": "the template is wrong",
    "'{{ values.port | nofilter }}'": "no filter named 'nofilter'",
    "'{{ 1 / 0 }}'": "division by zero",
    "'{{ values.port + \"a\" }}'": "the template fails",
    "'{{ env.BYTES }}'": "`env.BYTES` is not UTF-8 text",
    "'{{ env.BYTES | default(1) }}'": "`env.BYTES` is not UTF-8 text",
    "'{{ git }}'": "a group of names, not a value",
    "'{{ cycler }}'": "which YAML cannot hold",
    "'{{ {1: 2} }}'": "keys are text",
    "'{{ {\"{{\": 2} }}'": "with the key `{{`",
    "'{{ [].append }}'": "not allowed",
    "'{{ values.items.append(1) }}'": "not allowed",
    "'{{ \"\".__class__.__mro__ }}'": "not allowed",
    "'{{ values.__class__ }}'": "not allowed",
    "'{{ git._folder }}'": "is not defined",
    "'{{ env._environ }}'": "does not list this variable",
    "'{{ cycler.__init__.__globals__ }}'": "not allowed",
    "'{% include \"/etc/passwd\" %}'": "cannot take in other files (/etc/passwd)",
    "'{% import \"a.j2\" as a %}'": "cannot take in other files (a.j2)",
    "'{{ lipsum() }}'": "`lipsum` is not defined",
    "'{{ [1, 2] | random }}'": "no filter named 'random'",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_template_that_fails_is_told(text: str) -> None:
    problem = complaint(text)
    assert WRONG[text] in problem.text
    assert problem.remedy
    assert str(problem.span) == "a.yaml:10:4"


ENDLESS = {
    "rounds": "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
    "range": "{{ range(1000000000) }}",
    "calls": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(100) }}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a recursive loop": "{% for i in [1] recursive %}{{ loop([1, 1]) }}{% endfor %}",
    "product": "{{ ''x'' * 1000000000 }}",
    "list product": "{{ [0] * 1000000000 }}",
    "power": "{{ 10 ** 1000000000 }}",
    "power of power": "{{ 9 ** 999 ** 9 }}",
    "format": "{{ ''%1000000000d'' % 1 }}",
    "format filter": "{{ ''%1000000000d'' | format(1) }}",
    "format method": "{{ ''{:1000000000d}''.format(1) }}",
    "star format": "{{ ''%*d'' % (1000000000, 1) }}",
    "center": "{{ ''x'' | center(1000000000) }}",
    "ljust": "{{ ''x''.ljust(1000000000) }}",
    "batch": "{{ [1] | batch(1000000000, 0) | list }}",
    "round": "{{ 1.5 | round(1000000000, ''ceil'') }}",
    "doubling": "{% set n = namespace(x=''aaaaaaaa'') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
    "adding": "{% set n = namespace(x=''aaaaaaaa'') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
    "replacing": "{% set n = namespace(x=''aa'') %}{% for i in range(9) %}{% set n.x = n.x.replace(''a'', n.x) %}{% endfor %}",
    "replace filter": "{% set x = ''a'' * 9999 %}{{ x | replace(''a'', x) }}",
    "join": "{% set x = ''a'' * 8000000 %}{{ '' ''.join([x, x, x, x]) }}",
    "join filter": "{% set x = ''a'' * 8000000 %}{{ ([{}] * 999) | map(attribute=''a'', default=x) | join }}",
    "separator": "{% set x = ''a'' * 8000000 %}{{ range(9999) | join(x) }}",
    "text of a list": "{% set x = ''a'' * 8000000 %}{{ ([x] * 9999) | string }}",
    "formatting": "{% set x = ''a'' * 8000000 %}{{ ''%s'' * 999 % ((x,) * 999) }}",
    "formatting by position": "{% set x = ''a'' * 8000000 %}{{ (''{0}'' * 999).format(x) }}",
    "translate": "{% set x = ''a'' * 8000 %}{{ x.translate({97: x}) }}",
    "indent": "{{ (''x\\n'' * 9999) | indent(800000) }}",
    "tabs": "{{ (''\\t'' * 9999).expandtabs(800000) }}",
    "indented JSON": "{{ ([1] * 9999) | tojson(indent=800000) }}",
    "waste": "{% for i in range(9999) %}{% set x = ''a'' * 8000000 %}{% endfor %}",
    "output": "{% for i in range(9999) %}{{ ''x'' * 9999 }}{% endfor %}",
    "values": "{% for i in range(9) %}{% endfor %}{{ range(9999) | map(''string'') | map(''list'') | list | string * 99999 }}",
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_template_without_end_ends(name: str) -> None:
    """Every bomb ends soon, in an error, and without taking the machine's memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    problem = complaint(f"'{ENDLESS[name]}'")
    assert "the template fails" not in problem.text, "refused before it ran, not by luck"
    assert time.monotonic() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000, "kilobytes"


@pytest.mark.parametrize("text", ["'{{ \"\\udcff\" }}'", "'x{{ \"\\ud83d\" }}'", "'{{ {\"\\udcff\": 1} }}'"])
def test_half_a_surrogate_pair_is_no_text(text: str) -> None:
    assert complaint(text).text == "the template gives text with half a surrogate pair"


def test_nor_is_it_in_a_whole_file() -> None:
    (problem,) = run("#j2\na: {{ '\\udcff' }}\n").problems
    assert problem.text == "the template gives text with half a surrogate pair"


def test_many_large_values_are_bounded() -> None:
    text = STACK + "a:\n" + "  - '{{ range(9999) }}'\n" * 60
    texts = [problem.text for problem in run(text).problems]
    assert texts
    assert set(texts) == {"the templates give too many or too deeply nested values"}


def test_every_fault_of_every_file_is_told_in_order() -> None:
    loaded = run(f"{STACK}a: '{{{{ x }}}}'\nb: '{{{{ y }}}}'\n", "c: [1\n", "#j2\n{{ z }}\n", "d: '{{ values.q }}'\n")
    assert [str(problem.span) for problem in loaded.problems] == [
        "a.yaml:10:4",
        "a.yaml:11:4",
        "b.yaml:1:4",
        "c.yaml.j2:2:4",
        "d.yaml:1:4",
    ]


def test_a_fault_in_a_block_is_told_at_its_line() -> None:
    problem = complaint("|\n  one\n  {{ nope }}\n")
    assert str(problem.span) == "a.yaml:12:1"


def test_jinja2_is_imported_only_for_a_template() -> None:
    program = """
import sys
from pathlib import Path
from declarative.manifest.documents import Options, load
from declarative.manifest.sources import Source
for text, wanted in (("a: '{ x }'", False), ("a: '{{ 1 }}'", True)):
    load([Source(name="a.yaml", text=text, folder=Path("/x"))], Options(working_folder=Path("/x")))
    assert ("jinja2" in sys.modules) is wanted, text
    assert "subprocess" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


WRITTEN = ["1.20", "007", "0x10", "0o777", "1e3", "+5", ".inf", "80", "1.5", "12e4567"]


@pytest.mark.parametrize("text", WRITTEN)
def test_numbers_keep_what_was_written_through_values(tmp_path: Path, text: str) -> None:
    (tmp_path / "values.yaml").write_text(f"v: {text}\nl: [{text}]\n")
    asks = "a: 'x:{{ values.v }}'\nb: '{{ values.l.0 }}'\nc: '{{ values.v ~ 1 }}'\nd: '{{ values.v | string }}'\n"
    stack = f"kind: Stack\nmetadata: {{name: shop}}\nspec: {{values: {{v: {text}, l: [{text}]}}}}\n---\n"
    for texts, options in (
        ((stack + asks,), {}),
        ((asks,), {"values_files": ("values.yaml",)}),
        ((asks,), {"sets": (f"v={text}", f"l.0={text}"), "values_files": ("values.yaml",)}),
    ):
        loaded = run(*texts, folder=tmp_path, **options)
        assert not loaded.problems
        nodes = loaded.documents[0].root.items
        assert [node.text for node in nodes.values() if isinstance(node, Scalar)] == [
            f"x:{text}",
            text,
            f"{text}1",
            text,
        ]
        (given, plain) = (to_plain(nodes["b"]), to_plain(run(f"a: {text}\n").documents[0].root.items["a"]))
        assert (given, type(given)) == (plain, type(plain))


def test_what_is_computed_of_a_written_number_is_a_plain_one() -> None:
    for expression, text in {
        "values.v + 1": "2.2",
        "values.v | float": "1.2",
        "values.v | round(1)": "1.2",
        "'%.3f' % values.v": "1.200",
        "values.n + 0": "7",
        "values.n | int": "7",
        "-values.n": "-7",
        "'%d' % values.n": "7",
        "[values.n, values.v] | tojson": "[7, 1.2]",
        "range(values.n) | length": "7",
    }.items():
        (node,) = run(f'a: "{{{{ {expression} }}}}"\n', sets=("v=1.20", "n=007")).documents[0].root.items.values()
        assert isinstance(node, Scalar)
        assert node.text == text, expression
        assert type(node.value) in {int, float, str}


def test_numbers_keep_what_was_written_beside_templates() -> None:
    loaded = run("a: 1.10\nb: '{{ 1 }}'\n")
    node = loaded.documents[0].root.items["a"]
    assert isinstance(node, Scalar)
    assert node.text == "1.10"
