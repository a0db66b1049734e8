"""The router: paths, versions, queries, errors and their statuses."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from declarative.engine.daemon.http import Answer, Query, Request, Response, Route
from declarative.engine.daemon.router import NEWEST, Router, discover
from declarative.engine.log import Log
from declarative.errors import (
    Conflict,
    DeclarativeError,
    Denied,
    Failed,
    Invalid,
    InvalidManifest,
    LockHeld,
    NotFound,
    Unavailable,
    Unsupported,
    Usage,
)

if TYPE_CHECKING:
    from declarative.engine.engine import Engine

_ENGINE = cast("Engine", object())


def _tell(engine: Engine, request: Request) -> Response:
    assert engine is _ENGINE
    query = {name: request.query.texts(name) for name in ("a", "b")}
    return Answer(document=[request.path, dict(request.names), request.version, query])


def _route(path: str, method: str = "GET", since: tuple[int, int] = (1, 24)) -> Route:
    return Route(method=method, path=path, handler=_tell, since=since)


_ROUTES = (
    _route("/images/{name}/json"),
    _route("/images/{name}/get"),
    _route("/images/get"),
    _route("/images/json"),
    _route("/images/{name}", "DELETE"),
    _route("/new", since=(1, 40)),
    _route("/_ping", "HEAD"),
    _route("/containers/{name}/archive", "PUT"),
)


def _ask(target: str, method: str = "GET", routes: tuple[Route, ...] = _ROUTES) -> tuple[int, Any]:
    router = Router(_ENGINE, routes, Log(io.StringIO()))
    response = router.answer(method, target, {}, cast("Any", iter(())), lambda: False)
    assert isinstance(response, Answer)
    return response.status, response.document


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("/images/json", {}),
        ("/images/get", {}),
        ("/images/a/json", {"name": "a"}),
        ("/images/localhost:5000/a/b:c/json", {"name": "localhost:5000/a/b:c"}),
        ("/v1.30/images/a%2Fb@sha256%3Aab/json", {"name": "a/b@sha256:ab"}),
        ("/images/a%252Fb/json", {"name": "a%2Fb"}),
        ("/images/%C3%A4/json", {"name": "ä"}),
        ("/images/json/json", {"name": "json"}),
        ("/images/get/get", {"name": "get"}),
        ("http://docker/v1.41/images/a/json", {"name": "a"}),
    ],
)
def test_names_in_a_path(target: str, names: dict[str, str]) -> None:
    status, document = _ask(target)

    assert status == 200
    assert document[1] == names


@pytest.mark.parametrize("target", ["/", "", "*", "/nope", "/images", "/images//json", "/v1.41", "/v1.41/", "/_ping"])
def test_a_path_that_is_not_there(target: str) -> None:
    assert _ask(target) == (404, {"message": "page not found"})


def test_a_method_that_is_not_there_is_a_path_that_is_not_there() -> None:
    assert _ask("/images/json", "PATCH")[0] == 404
    assert _ask("/images/a/json", "DELETE")[1][1] == {"name": "a/json"}


@pytest.mark.parametrize("target", ["/images/%FF/json", "/images/%00/json", "/images/json?a=%FF"])
def test_what_is_no_text_is_refused(target: str) -> None:
    assert _ask(target)[0] == 400


def test_versions() -> None:
    assert _ask("/images/json")[1][2] == NEWEST
    assert _ask("/v1.24/images/json")[1][2] == (1, 24)
    assert _ask("/v1.47/images/json")[1][2] == (1, 47)
    assert _ask("/v1.39/new") == (404, {"message": "page not found"})
    assert _ask("/v1.40/new")[0] == 200


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (
            "1.23",
            (
                "client version 1.23 is too old. Minimum supported API version is 1.24, "
                "please upgrade your client to a newer version"
            ),
        ),
        ("1.48", "client version 1.48 is too new. Maximum supported API version is 1.47"),
        ("2.0", "client version 2.0 is too new. Maximum supported API version is 1.47"),
    ],
)
def test_versions_beyond(version: str, message: str) -> None:
    assert _ask(f"/v{version}/images/json") == (400, {"message": message})


@pytest.mark.parametrize(
    ("method", "target", "what"),
    [
        ("GET", "/v1.41/swarm/unlockkey", "GET /swarm/unlockkey: there is no swarm mode in this engine"),
        ("POST", "/services/create", "POST /services/create: there is no swarm mode in this engine"),
        ("POST", "/plugins/pull", "POST /plugins/pull: there are no plugins in this engine"),
        ("GET", "/containers/a/attach/ws", "GET /containers/a/attach/ws: this engine attaches over hijacked"),
    ],
)
def test_what_this_engine_does_not_have_says_so(method: str, target: str, what: str) -> None:
    status, document = _ask(target, method)

    assert status == 501
    assert document["message"].startswith(what)


def test_who_asks_for_a_swarm_hears_that_there_is_none() -> None:
    there_is_none = "GET /swarm: there is no swarm mode in this engine"
    assert _ask("/v1.41/swarm") == (503, {"message": there_is_none})


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Invalid("", "m"), 400),
        (InvalidManifest(()), 400),
        (Usage("", "m"), 400),
        (Denied("", "m"), 403),
        (NotFound("", "m"), 404),
        (Conflict("", "m"), 409),
        (LockHeld("", "m"), 409),
        (Unsupported("", "m"), 501),
        (Failed("", "m"), 500),
        (Unavailable("", "m"), 503),
        (DeclarativeError("", "m"), 500),
    ],
)
def test_each_error_has_its_status_and_its_words(error: DeclarativeError, status: int) -> None:
    def fail(*_: object) -> Response:
        raise error

    assert _ask("/x", routes=(Route(method="GET", path="/x", handler=fail),)) == (status, {"message": str(error)})


def test_a_fault_of_a_handler_is_a_500_and_is_logged_with_its_trace() -> None:
    def fail(*_: object) -> Response:
        raise ZeroDivisionError("on purpose")

    said = io.StringIO()
    router = Router(_ENGINE, (Route(method="GET", path="/x", handler=fail),), Log(said))
    response = router.answer("GET", "/x?secret=1", {}, cast("Any", iter(())), lambda: False)

    assert isinstance(response, Answer)
    assert response.status == 500
    assert "ZeroDivisionError: on purpose" in said.getvalue()
    assert "secret" not in said.getvalue()


@given(st.text(), st.sampled_from(["GET", "HEAD", "POST", "DELETE"]))
def test_no_target_brings_the_router_down(target: str, method: str) -> None:
    assert _ask(f"/{target}", method)[0] in {200, 400, 404, 501}


def test_queries() -> None:
    assert _ask("/images/json?a=1&b=&a=2+3%26&c")[1][3] == {"a": ("1", "2 3&"), "b": ("",)}


@pytest.mark.parametrize("value", ["1", "true", "True", "yes", "x", " 1 "])
def test_a_flag_that_is_on(value: str) -> None:
    assert Query({"a": (value,)}).flag("a") is True


@pytest.mark.parametrize("value", ["", "0", "no", "false", "FALSE", "none", " 0 "])
def test_a_flag_that_is_off(value: str) -> None:
    assert Query({"a": (value,)}).flag("a", default=True) is False


def test_values_of_a_query() -> None:
    query = Query({"t": ("5",), "bad": ("x",), "filters": ('{"label":["a=b"],"name":{"n":true,"m":false}}',)})

    assert query.integer("t") == 5
    assert query.integer("none", 7) == 7
    assert query.filters() == {"label": ("a=b",), "name": ("n",)}
    for wrong in (lambda: query.integer("bad"), lambda: query.document("bad"), lambda: query.filters("bad")):
        with pytest.raises(Invalid):
            wrong()


@pytest.mark.parametrize("text", ["[]", '"x"', '{"a":1}', '{"a":[1]}', "[" * 100_000])
def test_filters_of_another_shape(text: str) -> None:
    with pytest.raises(Invalid):
        Query({"filters": (text,)}).filters()


def _request(content: bytes) -> Request:
    return Request(
        method="POST",
        path="/",
        version=NEWEST,
        names={},
        query=Query({}),
        headers={},
        body=cast("Any", [content[:3], content[3:]]),
        gone=lambda: False,
    )


def test_json_of_a_body() -> None:
    assert _request(b' {"a": 1} ').json() == {"a": 1}
    assert _request(b"").json() == {}
    assert _request(b"null").json() == {}
    for wrong in (b"[1]", b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(Invalid):
            _request(wrong).json()
    with pytest.raises(Invalid):
        _request(b"abcdef").read(limit=5)


@pytest.mark.parametrize(
    ("content", "document"),
    [
        (rb'{"Labels": {"a": "x\udcff"}}', {"Labels": {"a": "x\ufffd"}}),
        (rb'{"\uD800b": ["\uDfFf\n", 1, null, true]}', {"\ufffdb": ["\ufffd\n", 1, None, True]}),
        (b'{"a": "\xed\xb3\xbf"}', {"a": "\ufffd"}),
        (rb'{"a": "\ud83d\ude00", "b": "\\udcff"}', {"a": "\U0001f600", "b": r"\udcff"}),
    ],
)
def test_half_a_character_becomes_the_sign_for_one_that_is_lost(content: bytes, document: object) -> None:
    assert _request(content).json() == document
    if content.isascii():
        assert Query({"q": (content.decode(),)}).document("q") == document


def test_every_noun_has_routes_and_none_twice() -> None:
    routes = discover()
    named = [(route.method, route.path) for route in routes]

    assert len(named) == len(set(named))
    assert all(path.startswith("/") and method.isupper() for method, path in named)
