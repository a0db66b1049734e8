"""Env files as Compose reads them, and what is a problem here that Compose guesses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from declarative.manifest.dotenv import parse_env

CASES = {
    "A=1": {"A": "1"},
    "A = 1": {"A": "1"},
    "A: 1": {"A": "1"},
    "export A=1": {"A": "1"},
    "A=": {"A": ""},
    "A=''": {"A": ""},
    "# only a comment": {},
    "\n\n  \nA=1\n": {"A": "1"},
    "A=1 # comment": {"A": "1"},
    "A=1#no-comment": {"A": "1#no-comment"},
    "A=#comment": {"A": ""},
    "A= # comment": {"A": ""},
    "A='x # y' # z": {"A": "x # y"},
    'A="x # y"': {"A": "x # y"},
    'A="one\\ntwo"': {"A": "one\ntwo"},
    "A='one\\ntwo'": {"A": "one\\ntwo"},
    'A="one\ntwo"\nB=2': {"A": "one\ntwo", "B": "2"},
    'A="say \\"hi\\""': {"A": 'say "hi"'},
    "A='it\\'s'": {"A": "it's"},
    "A=1\r\nB=2\r\n": {"A": "1", "B": "2"},
    "A=1\nB=${A}2$A": {"A": "1", "B": "121"},
    "A=1\nB='$A'": {"A": "1", "B": "$A"},
    'A=1\nB="$A"': {"A": "1", "B": "1"},
    "B=${A:-none}": {"B": "none"},
    "B=${A-}": {"B": ""},
    "A=5$$": {"A": "5$"},
    "A=5$ and 6": {"A": "5$ and 6"},
    "A=1\nA=2": {"A": "2"},
    "\ufeffA=1": {"A": "1"},
    "A=b=c": {"A": "b=c"},
    "A=http://x:8080/#frag": {"A": "http://x:8080/#frag"},
    "a.b-c=1": {"a.b-c": "1"},
}


@pytest.mark.parametrize("text", list(CASES))
def test_what_is_written_is_read(text: str) -> None:
    assert parse_env(text) == (CASES[text], ())


@pytest.mark.parametrize(
    ("text", "words", "offset"),
    [
        ("A=1\nB\nC=3", "B has no value", 4),
        ("A='open", "the quote is not closed", 2),
        ("A='x' y", "text after the closing quote", 5),
        ("A=$B", "no line above sets B", 2),
        ("=x", "not a NAME=VALUE line", 0),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, words: str, offset: int) -> None:
    _, faults = parse_env(text)
    assert [(fault.text, fault.offset) for fault in faults] == [(words, offset)]


def test_every_fault_is_reported_and_the_rest_is_read() -> None:
    values, faults = parse_env("A\nB=1\nC='x\nD\nE=2")
    assert values["B"] == "1"
    assert [fault.text for fault in faults][:2] == ["A has no value", "the quote is not closed"]


def test_variables_of_the_files_before_are_known() -> None:
    assert parse_env("B=$A", {"A": "1"}) == ({"B": "1"}, ())


@given(st.text(alphabet="AB=:'\"$\\{}# \t\n-x\r"))
def test_no_text_is_too_strange(text: str) -> None:
    values, _ = parse_env(text)
    assert all(name and "\n" not in name for name in values)


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z_]{1,5}", fullmatch=True),
        st.text(alphabet=st.characters(exclude_characters="'\\\r\0", exclude_categories=["Cs"])),
    )
)
def test_single_quotes_keep_everything(values: dict[str, str]) -> None:
    text = "".join(f"{name}='{value}'\n" for name, value in values.items())
    assert parse_env(text) == (values, ())
