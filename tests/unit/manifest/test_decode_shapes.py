"""Shapes of values: short and long forms come out as one canonical value, and what is wrong is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from declarative.core.resources import Attachment, FileEntry, Healthcheck, Mount, Port
from declarative.core.secret import Secret
from declarative.manifest import decode_tree
from declarative.manifest.decode import BAD
from declarative.manifest.decode_env_file import ENV_FILES
from declarative.manifest.decode_network import EXPOSE, EXTRA_HOSTS, NETWORKS, PORTS
from declarative.manifest.decode_process import CAPABILITIES, COMMAND, CPUS, HEALTHCHECK, RESTART, SIGNAL, ULIMITS
from declarative.manifest.decode_scalars import Boolean, Duration, Enum, Integer, Size, Text
from declarative.manifest.decode_secrets import FilePath, environment_value
from declarative.manifest.decode_storage import DEVICES, FILES, MOUNTS, TMPFS
from declarative.manifest.fields.container_blocks import SECURITY
from tests.unit.manifest.reading import FOLDER, decode, decode_data

if TYPE_CHECKING:
    from declarative.manifest.decode import Shape

SECOND = 1_000_000_000

GOOD: list[tuple[str, Shape, Any, Any]] = [
    ("number as it is written", Text(number=True), "\n 1.10", "1.10"),
    ("octal as it is written", Text(number=True), "\n 0444", "0444"),
    ("truth", Boolean(), True, True),
    ("size", Size(), "1.5k", 1536),
    ("size in bytes", Size(), 1536, 1536),
    ("no limit", Size(unlimited=True), -1, -1),
    ("no limit in text", Size(unlimited=True), "-1", -1),
    ("duration", Duration(), "1m30s", 90 * SECOND),
    ("no duration", Duration(), 0, 0),
    ("word", Enum("a", "b"), "b", "b"),
    ("command in text", COMMAND, "sh -c 'a b' \"c\"", ("sh", "-c", "a b", "c")),
    ("command as a list", COMMAND, ["sleep", 5, ""], ("sleep", "5", "")),
    ("empty command", COMMAND, [], ()),
    ("variable", environment_value(), "\n 012", "012"),
    ("truth as text", environment_value(), True, "true"),
    ("check in text", HEALTHCHECK, {"test": "a || b"}, Healthcheck(test=("CMD-SHELL", "a || b"))),
    ("check off", HEALTHCHECK, {"disable": True, "interval": "5s"}, Healthcheck(test=("NONE",))),
    ("check of the image, other times", HEALTHCHECK, {"interval": "5s"}, Healthcheck(interval=5 * SECOND)),
    ("restart", RESTART, "on-failure:3", "on-failure:3"),
    ("restart with zeros before", RESTART, "on-failure:03", "on-failure:3"),
    ("restart without a limit", RESTART, "on-failure:00", "on-failure"),
    ("signal by number", SIGNAL, 9, "9"),
    ("signal by name", SIGNAL, "term", "SIGTERM"),
    ("signal with a plus", SIGNAL, "SIGRTMIN+3", "SIGRTMIN+3"),
    ("capability", CAPABILITIES, ["sys_time", "CAP_CHOWN"], ("CHOWN", "SYS_TIME")),
    ("limits", ULIMITS, {"nofile": 5, "core": {"soft": 0, "hard": -1}}, {"nofile": (5, 5), "core": (0, -1)}),
    ("ports", PORTS, ["80", 81], (Port(target=80), Port(target=81))),
    ("range", PORTS, ["1-2:3-4/UDP"], tuple(Port(target=n + 2, published=n, protocol="udp") for n in (1, 2))),
    ("address", PORTS, ["[0:0::1]:1:2"], (Port(target=2, published=1, host_ip="::1"),)),
    ("any host port", PORTS, ["127.0.0.1::2"], (Port(target=2, host_ip="127.0.0.1"),)),
    ("port as base sixty", PORTS, "\n [22:22]", (Port(target=22, published=22),)),
    ("exposed", EXPOSE, ["1-2/udp", 3], ("1/udp", "2/udp", "3/tcp")),
    ("networks", NETWORKS, ["a"], {"a": Attachment()}),
    (
        "attachments",
        NETWORKS,
        {"a": None, "b": {"aliases": ["x"]}},
        {"a": Attachment(), "b": Attachment(aliases=("x",))},
    ),
    ("hosts", EXTRA_HOSTS, ["a:1.2.3.4", "b=::1", "c:host-gateway"], ("a:1.2.3.4", "b:::1", "c:host-gateway")),
    ("hosts as a map", EXTRA_HOSTS, {"b": "1.1.1.1", "a": ["2.2.2.2"]}, ("a:2.2.2.2", "b:1.1.1.1")),
    ("volume", MOUNTS, ["v:/a/"], (Mount(target="/a", source="v"),)),
    ("anonymous", MOUNTS, ["/a//b/."], (Mount(target="/a/b"),)),
    (
        "folder",
        MOUNTS,
        ["./x/../y:/a:ro,rslave"],
        (
            Mount(
                target="/a",
                type="bind",
                source=str(FOLDER / "y"),
                read_only=True,
                propagation="rslave",
                create_host_path=True,
            ),
        ),
    ),
    ("home", MOUNTS, ["~:/a"], (Mount(target="/a", type="bind", source="/home/somebody", create_host_path=True),)),
    (
        "long bind mount does not make folders",
        MOUNTS,
        [{"type": "bind", "source": "/x/", "target": "/a"}],
        (Mount(target="/a", type="bind", source="/x"),),
    ),
    ("tmpfs in text", TMPFS, "/run:size=1m", {"/run": "size=1m"}),
    ("tmpfs as a list", TMPFS, ["/run", "/tmp"], {"/run": "", "/tmp": ""}),  # noqa: S108 - a path in a container
    ("device", DEVICES, ["/dev/a:/dev/b:wr"], ("/dev/a:/dev/b:rwm".replace("m", ""),)),
    ("file", FILES, "\n [{target: /a, content: x, mode: 0440}]", (FileEntry(target="/a", content=b"x", mode=0o440),)),
    (
        "mode in text",
        FILES,
        [{"target": "/a", "content": "x", "mode": "0o600"}],
        (FileEntry(target="/a", content=b"x", mode=0o600),),
    ),
    (
        "owner",
        FILES,
        [{"target": "/a", "content": "x", "owner": "5:6"}],
        (FileEntry(target="/a", content=b"x", uid=5, gid=6),),
    ),
    (
        "owner alone",
        FILES,
        [{"target": "/a", "content": "x", "owner": 5}],
        (FileEntry(target="/a", content=b"x", uid=5, gid=5),),
    ),
]

BAD_VALUES: list[tuple[Shape, Any, str]] = [
    (Text(), 5, 'put it in quotes: "5"'),
    (Text(), None, "has no value"),
    (Text(), "", "is empty"),
    (Text(), "a\0b", "not usable"),
    (Text(number=True), True, "found true or false"),
    (Boolean(), "off", "write false"),
    (Boolean(), None, "has no value"),
    (Integer(largest=5), 6, "from 0 to 5"),
    (Integer(), 1.0, "found a number"),
    (Integer(), True, "found true or false"),
    (Size(), -5, "negative"),
    (Size(), 1.5, "found a number"),
    (Duration(), "-5s", "negative"),
    (Duration(), 5, "write the unit: 5s"),
    (Enum("first", "second"), "frist", "did you mean `first`"),
    *(
        (CPUS, text, "is not a number of CPUs")
        for text in ("1e999999999", "nan", "-inf", "1e400", "1e-10", "0", "many")
    ),
    (COMMAND, "a 'b", "no closing quotation"),
    (environment_value(), None, "secret"),
    (environment_value(), [1], "found a list"),
    (HEALTHCHECK, {"test": ["CMD-SHELL", "a", "b"]}, "wrong number of words"),
    (HEALTHCHECK, {"test": []}, "begins with CMD"),
    (RESTART, "on-failure:x", "not a restart policy"),
    (RESTART, "on-failure:\N{SUPERSCRIPT TWO}", "not a restart policy"),
    (PORTS, ["80", "80/tcp"], "here twice"),
    (PORTS, [{"target": 80, "host_ip": "localhost"}], "not an IP address"),
    (PORTS, ["5-4:5-4"], "ends before it begins"),
    (PORTS, [f"{'9' * 5000}:80"], "out of range"),
    (EXPOSE, ["80/icmp"], "not a protocol"),
    (NETWORKS, {"a": {"alias": []}}, "did you mean `aliases`"),
    (EXTRA_HOSTS, ["a b:1.1.1.1"], "not a host entry"),
    (EXTRA_HOSTS, {"a": "nowhere"}, "not an IP address"),
    (MOUNTS, ["v:/a", "w:/a"], "`/a` is here twice"),
    (MOUNTS, ["v:/a/../b"], "goes up"),
    (MOUNTS, ["V:/a"], "not a volume's name"),
    (MOUNTS, ["v:/a:rshared"], "for host paths"),
    (MOUNTS, [{"type": "tmpfs", "source": "x", "target": "/a"}], "has no source"),
    (MOUNTS, [{"type": "volume", "target": "/a", "bind": {}}], "for mounts of type bind"),
    (MOUNTS, [{"type": "volume", "source": "./x", "target": "/a"}], "set type: bind"),
    (FILES, [{"target": "/a", "content": "x", "mode": "9"}], "not a file mode"),
    (FILES, [{"target": "/a", "content": {"secret": {"file": "./profile.json", "env": "A"}}}], "one source"),
    (FILES, [{"target": "/a", "content": "x"}, {"target": "/a/", "content": "y"}], "here twice"),
    (FILES, [{"target": "/a", "content": "x", "owner": "\N{SUPERSCRIPT TWO}"}], "not an owner"),
    (SECURITY, ["systempaths=unconfined"], "privileged: true"),
    (DEVICES, ["/dev/a:/dev/b:/dev/c"], "not a device"),
    (ULIMITS, {"nofile": {"soft": 1}}, "lacks `hard`"),
    (CAPABILITIES, ["CHWON"], "did you mean `CHOWN`"),
]


@pytest.mark.parametrize(("name", "shape", "value", "expected"), GOOD, ids=[case[0] for case in GOOD])
def test_a_value_comes_out_in_its_canonical_form(name: str, shape: Shape, value: Any, expected: Any) -> None:
    del name
    assert decode(shape, value) == (expected, [])


@pytest.mark.parametrize(("shape", "value", "words"), BAD_VALUES)
def test_what_is_wrong_is_said(shape: Shape, value: Any, words: str) -> None:
    _, problems = decode(shape, value)
    assert any(words in str(problem) for problem in problems), problems


def test_a_secret_prints_as_stars_wherever_it_comes_from() -> None:
    for source, plain in (({"env": "GIVEN"}, "given-text"), ({"file": "./token.txt"}, "s3cret")):
        value, problems = decode(environment_value(), {"secret": source})
        assert problems == []
        assert isinstance(value, Secret)
        assert value.reveal() == plain
        assert repr(value) == "***"


def test_a_secret_in_a_file_keeps_its_last_line_end() -> None:
    (entry,), problems = decode(FILES, [{"target": "/a", "secret": {"file": "./token.txt"}}])
    assert problems == []
    assert entry.content.reveal() == "s3cret\n"


def test_all_faults_of_a_value_are_reported_at_once() -> None:
    value, problems = decode(FILES, [{"target": "a", "mode": "x", "what": 1}, 5])
    assert value == ()
    assert len(problems) == 4


@pytest.mark.parametrize(
    ("shape", "value", "words"),
    [
        (FilePath(exists="file"), "n" * 300, "file name too long"),
        (FilePath(exists="folder"), "n" * 300, "file name too long"),
        (ENV_FILES, [{"path": "n" * 300, "required": False}], "file name too long"),
        (ENV_FILES, "a\0b", "is not a path"),
        (ENV_FILES, "", "is not a path"),
        (FILES, [{"target": "/a", "file": "/dev/zero"}], "larger than 16 MiB"),
        (environment_value(), {"secret": {"file": "/dev/zero"}}, "larger than 16 MiB"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_complaint(shape: Shape, value: Any, words: str) -> None:
    _, (problem,) = decode(shape, value)
    assert words in problem.text


def test_many_faults_of_one_document_do_not_look_for_each_place_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    visits: list[object] = []
    children = decode_tree._children

    def counted(node: Any) -> Any:
        visits.append(node)
        return children(node)

    monkeypatch.setattr(decode_tree, "_children", counted)
    _, problems = decode_data({f"key{number}": {"a": number} for number in range(300)})
    assert sum(problem.text.startswith("key") for problem in problems) == 300
    assert len(visits) < 1000


_WORDS = st.text(
    alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x17F, exclude_categories=["Cc"], exclude_characters="{"),
    max_size=20,
)
_DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=8,
)


@given(
    st.sampled_from(
        [
            COMMAND,
            HEALTHCHECK,
            RESTART,
            SIGNAL,
            CAPABILITIES,
            ULIMITS,
            PORTS,
            EXPOSE,
            NETWORKS,
            EXTRA_HOSTS,
            MOUNTS,
            TMPFS,
            DEVICES,
            FILES,
        ]
    ),
    _DATA,
)
def test_no_value_makes_a_shape_raise(shape: Shape, value: Any) -> None:
    decoded, problems = decode(shape, value)
    assert problems or decoded is not BAD
