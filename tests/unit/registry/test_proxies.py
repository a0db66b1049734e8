"""Which proxy stands before which host."""

from __future__ import annotations

import pytest

from declarative.registry.proxies import Proxies

PROXY = "http://proxy.test:3128"


@pytest.mark.parametrize(
    ("environ", "proxies"),
    [
        ({}, Proxies()),
        ({"HTTP_PROXY": "http://a", "https_proxy": "b:1"}, Proxies(http="http://a", https="http://b:1")),
        ({"HTTPS_PROXY": "http://a", "https_proxy": "http://b"}, Proxies(https="http://b")),
        ({"HTTPS_PROXY": "http://a", "https_proxy": ""}, Proxies()),
        ({"NO_PROXY": "x", "ALL_PROXY": "http://a"}, Proxies(bypass="x")),
    ],
)
def test_of_an_environment(environ: dict[str, str], proxies: Proxies) -> None:
    assert Proxies.of(environ) == proxies


@pytest.mark.parametrize(
    ("bypass", "host", "proxied"),
    [
        ("", "ghcr.io", True),
        ("", "localhost:5000", False),
        ("", "127.9.9.9", False),
        ("", "[::1]:5000", False),
        ("", "localhost.example.test", True),
        ("*", "ghcr.io", False),
        ("example.test, other.test", "other.test:5000", False),
        ("example.test", "a.example.test", False),
        (".Example.test", "a.EXAMPLE.test", False),
        ("*.example.test", "a.example.test", False),
        ("example.test", "notexample.test", True),
        ("example.test:5000", "example.test:5000", False),
        ("example.test:5000", "example.test", True),
        ("10.0.0.0/8", "10.1.2.3:5000", False),
        ("10.0.0.0/8", "11.1.2.3", True),
        ("fd00::/8", "[fd00::1]", False),
        ("example.test", "me:example.test@ghcr.io", True),
        (",,", "ghcr.io", True),
        ("ghcr.io:443", "ghcr.io", False),
        ("ghcr.io:80", "ghcr.io", True),
        ("", "[::ffff:127.0.0.1]", False),
        ("", "localhost.", False),
    ],
)
def test_before_a_host(bypass: str, host: str, proxied: bool) -> None:
    proxies = Proxies(https=PROXY, bypass=bypass)

    assert proxies.find(f"https://{host}/v2/") == (PROXY if proxied else "")
    assert proxies.find(f"http://{host}/v2/") == ""


def test_a_password_is_told_to_the_proxy_and_not_shown() -> None:
    proxies = Proxies(http="http://me:p%40ss@proxy.test:3128")

    assert proxies.connect("http://ghcr.io").proxy_headers == {"proxy-authorization": "Basic bWU6cEBzcw=="}  # type: ignore[attr-defined]
    assert "p%40ss" not in repr(proxies)


def test_a_program_takes_the_same_ways() -> None:
    assert Proxies(bypass="x").environment() == {}
    found = Proxies(https=PROXY, bypass="intern.test").environment()
    assert found == {"http_proxy": "", "https_proxy": PROXY, "no_proxy": "intern.test,localhost,127.0.0.0/8,::1"}
