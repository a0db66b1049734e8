"""Which proxy stands before a host: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, much as curl, Go and Python read them.

The rule that keeps it simple: the environment is read once, at the edge; after that an address alone decides. Loopback is never
reached by a proxy: what it would reach there is its own.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from urllib3 import PoolManager


@record
class Proxies:
    """`http` and `https`: proxies by the scheme of what is asked for, as URLs, "" for none. `bypass`: NO_PROXY."""

    http: str = field(default="", repr=False)  # it may hold a password
    https: str = field(default="", repr=False)
    bypass: str = ""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Proxies:
        """Read an environment; a name in lower case counts before the same in upper case, also where it is empty."""

        def value(name: str) -> str:
            return environ.get(name, environ.get(name.upper(), "")).strip()

        return cls(http=_url(value("http_proxy")), https=_url(value("https_proxy")), bypass=value("no_proxy"))

    def find(self, url: str) -> str:
        """Give the proxy before the host of a URL, "" for none."""
        parts = urlsplit(url)
        proxy = self.https if parts.scheme == "https" else self.http
        name = parts.hostname or ""
        host = f"{name}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        if not proxy or is_loopback(name):
            return ""
        return "" if any(_covers(entry.strip().lower(), name, host) for entry in self.bypass.split(",")) else proxy

    def environment(self) -> dict[str, str]:
        """Give the variables for a program that is to take the same ways."""
        if not self.http and not self.https:
            return {}
        bypass = ",".join(filter(None, (self.bypass, "localhost,127.0.0.0/8,::1")))
        return {"http_proxy": self.http, "https_proxy": self.https, "no_proxy": bypass}

    def connect(self, url: str, **settings: Any) -> PoolManager:
        """Give what opens connections to the host of a URL. `settings` are urllib3's."""
        import urllib3

        proxy = self.find(url)
        if not proxy:
            return urllib3.PoolManager(**settings)
        login = unquote(urlsplit(proxy).netloc.rpartition("@")[0])
        headers = urllib3.make_headers(proxy_basic_auth=login) if login else None
        return urllib3.ProxyManager(proxy, proxy_headers=headers, **settings)


def is_loopback(name: str) -> bool:
    """Tell whether a host's name or address is this machine's own."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name.lower().rstrip(".") == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _url(text: str) -> str:
    return f"http://{text}" if text and "://" not in text else text


def _covers(entry: str, name: str, host: str) -> bool:
    """Tell whether an entry of NO_PROXY means a host, with its port or without: by its name's end, or by its address's block.

    As urllib's proxy_bypass_environment; `*.` and blocks such as 10.0.0.0/8 are Go's (golang.org/x/net/http/httpproxy).
    """
    if entry == "*":
        return True
    suffix = entry.lstrip("*.")
    if suffix and any(one == suffix or one.endswith(f".{suffix}") for one in (name, host)):
        return True
    try:
        return ipaddress.ip_address(name) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
