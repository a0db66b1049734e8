"""POST /auth: whether a registry takes these credentials.

The rule that keeps it simple: the registry itself decides; nothing is kept here, the client keeps what works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.daemon.credentials import domain_of, of_document
from declarative.engine.daemon.http import Answer, Request, Response, Route
from declarative.errors import Denied, Invalid

if TYPE_CHECKING:
    from declarative.engine.engine import Engine


def check(engine: Engine, request: Request) -> Response:
    """Log in, as `docker login` asks for it."""
    body = request.json()
    server = body.get("serveraddress") or ""
    credential = of_document(body)
    if not isinstance(server, str):
        raise Invalid("", "serveraddress is no text")
    if credential is None:
        raise Invalid("", "no credentials are given: a username and a password, or a token")
    domain = domain_of(server)
    client = engine.registries.client(domain, credential)
    try:
        client.check()
    except Denied:
        message = f"login attempt to https://{domain}/v2/ failed: unauthorized: incorrect username or password"
        return Answer(document={"message": message}, status=401)
    finally:
        engine.registries.forget(client)
    return Answer(document={"IdentityToken": "", "Status": "Login Succeeded"})


ROUTES: tuple[Route, ...] = (Route(method="POST", path="/auth", handler=check),)
