"""From the output of a failed build to the line of the Dockerfile. The outputs are what real builders printed."""

from __future__ import annotations

import pytest

from declarative.oci.dockerfile.lexer import lex
from declarative.oci.dockerfile.steps import buildkit_line, classic_line, failing_line

TEXT = b"""\
ARG V=x
FROM busybox AS base
COPY Dockerfile /a
# comment

COPY Dockerfile \\
  /b
FROM scratch
WORKDIR /w
ENV A=b
COPY --from=base /nothere /c
"""

CLASSIC = """\
Step 7/8 : ENV A=b
 ---> Running in 634a264e9d41
Step 8/8 : COPY --from=base /nothere /c
COPY failed: stat nothere: file does not exist
"""

BUILDKIT = """\
#6 [base 3/3] COPY Dockerfile   /b
#6 DONE 0.0s

#7 [stage-1 2/2] COPY --from=base /nothere /c
#7 ERROR: "/nothere" not found: not found
------
 > [stage-1 2/2] COPY --from=base /nothere /c:
------
ERROR: failed to solve: failed to compute cache key: "/nothere" not found: not found
"""

EXCERPT = """\
------
 > [linux/amd64 base 2/3] COPY Dockerfile /a:
------
Dockerfile:3
--------------------
   1 |     ARG V=x
   2 |     FROM busybox AS base
   3 | >>> COPY Dockerfile /a
--------------------
ERROR: failed to solve: it does not matter
"""


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (CLASSIC, 11),
        (BUILDKIT, 11),
        (EXCERPT, 3),
        (EXCERPT.replace("Dockerfile:3", ""), 3),
        ("Step 1/8 : ARG V=x\n", 1),
        ("Step 9/8 : no such step\n", 0),
        (" > [gone 1/2] RUN x:\n", 0),
        ("something else altogether", 0),
        ("", 0),
    ],
)
def test_the_line_that_failed(output: str, line: int) -> None:
    assert failing_line(lex(TEXT), output) == line


def test_classic_steps_count_every_instruction_up_to_the_target() -> None:
    whole = lex(TEXT)
    assert [classic_line(whole, step) for step in range(10)] == [0, 1, 2, 3, 6, 8, 9, 10, 11, 0]
    assert classic_line(lex(TEXT), 5, "base") == 0


def test_buildkit_steps_count_what_makes_something() -> None:
    found = lex(TEXT)
    assert [buildkit_line(found, "base", step) for step in range(1, 5)] == [2, 3, 6, 0]
    assert [buildkit_line(found, "stage-1", step) for step in range(1, 4)] == [9, 11, 0]
    assert buildkit_line(found, "", 2, target="base") == 3
    single = lex(b"FROM a\nENV B=c\nRUN x\n")
    assert [buildkit_line(single, "", step) for step in (1, 2)] == [1, 3]


def test_a_padded_step_number() -> None:
    text = b"FROM a\n" + b"RUN x\n" * 10
    assert failing_line(lex(text), " > [ 3/11] RUN x:\n") == 3
    assert failing_line(lex(b"FROM a AS build\n" + text[7:]), " > [build  3/11] RUN x:\n") == 3


@pytest.mark.parametrize("words", ["x", "a.b:", "ERROR ", "ERROR [a ", " > [a/", "x:1\n----"])
def test_a_very_long_line_takes_no_longer_than_many_short_ones(words: str) -> None:
    printed = CLASSIC.replace("COPY failed", words * 500_000 + "\nCOPY failed")
    assert failing_line(lex(TEXT), printed) == 11
