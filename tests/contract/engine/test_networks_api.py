"""Networks and volumes over the API, asked of our daemon with no client in between: documents, statuses, words, filters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.embedded import EmbeddedEngine


@pytest.fixture
def engine(embedded_engine: EmbeddedEngine) -> Iterator[EmbeddedEngine]:
    yield embedded_engine
    embedded_engine.clear()


def get(engine: EmbeddedEngine, path: str, **query: object) -> Any:
    values = {name: value if isinstance(value, str) else json.dumps(value) for name, value in query.items()}
    text = "&".join(f"{name}={quote(value)}" for name, value in values.items())
    status, answer = engine.api("GET", f"{path}?{text}")
    assert status == 200, answer
    return answer


def names(engine: EmbeddedEngine, **filters: list[str]) -> list[str]:
    return sorted(row["Name"] for row in get(engine, "/networks", filters=filters))


def create(engine: EmbeddedEngine, name: str, **more: object) -> str:
    status, answer = engine.api("POST", "/networks/create", {"Name": name, **more})
    assert status == 201, answer
    assert answer["Warning"] == ""
    return str(answer["Id"])


def refused(engine: EmbeddedEngine, method: str, path: str, body: object = None) -> tuple[int, str]:
    status, answer = engine.api(method, path, body)
    assert status >= 400, answer
    return status, answer["message"]


def test_the_document_of_a_network(engine: EmbeddedEngine) -> None:
    id_ = create(
        engine, "shop", Driver="bridge", Internal=True, Attachable=True, EnableIPv6=True, CheckDuplicate=True,
        Labels={"a": "b"}, Options={"com.docker.network.driver.mtu": "1400"},
        IPAM={"Driver": "default", "Options": {}, "Config": [
            {"Subnet": "10.88.0.0/16", "IPRange": "10.88.4.0/24", "Gateway": "10.88.0.9",
             "AuxiliaryAddresses": {"x": "10.88.4.1"}},
            {"Subnet": "fd00:88::/64"},
        ]},
    )  # fmt: skip
    for name in (id_, id_[:12], "shop"):
        document = get(engine, f"/networks/{name}")
        created = document.pop("Created")
        assert created.startswith("20")
        assert created.endswith("Z")
        assert document == {
            "Name": "shop",
            "Id": id_,
            "Scope": "local",
            "Driver": "bridge",
            "EnableIPv4": True,
            "EnableIPv6": True,
            "IPAM": {
                "Driver": "default",
                "Options": {},
                "Config": [
                    {
                        "Subnet": "10.88.0.0/16",
                        "IPRange": "10.88.4.0/24",
                        "Gateway": "10.88.0.9",
                        "AuxiliaryAddresses": {"x": "10.88.4.1"},
                    },
                    {"Subnet": "fd00:88::/64"},
                ],
            },
            "Internal": True,
            "Attachable": True,
            "Ingress": False,
            "ConfigFrom": {"Network": ""},
            "ConfigOnly": False,
            "Containers": {},
            "Options": {"com.docker.network.driver.mtu": "1400"},
            "Labels": {"a": "b"},
        }


def test_the_predefined_networks(engine: EmbeddedEngine) -> None:
    rows = {row["Name"]: row for row in get(engine, "/networks")}
    assert {name: row["Driver"] for name, row in rows.items()} == {"bridge": "bridge", "host": "host", "none": "null"}
    config = rows["bridge"]["IPAM"]["Config"]
    assert len(config) == 1
    assert set(config[0]) == {"Subnet", "Gateway"}, "of a subnet that the engine picked it tells the gateway too"
    assert rows["bridge"]["Options"]["com.docker.network.bridge.default_bridge"] == "true"


def test_filters(engine: EmbeddedEngine) -> None:
    id_ = create(engine, "shop", Labels={"tier": "front", "empty": ""})
    create(engine, "workshop")
    assert names(engine, name=["shop"]) == ["shop", "workshop"]
    assert names(engine, name=["^shop$"]) == ["shop"]
    assert names(engine, name=["^shop$", "none"]) == ["none", "shop"]
    assert names(engine, id=[id_[:9]]) == ["shop"]
    assert names(engine, driver=["null", "host"]) == ["host", "none"]
    assert names(engine, label=["tier"]) == ["shop"]
    assert names(engine, label=["tier=front", "empty="]) == ["shop"]
    assert names(engine, label=["tier=back"]) == []
    assert names(engine, type=["custom"]) == ["shop", "workshop"]
    assert names(engine, type=["builtin"]) == ["bridge", "host", "none"]
    assert names(engine, scope=["local"]) == ["bridge", "host", "none", "shop", "workshop"]
    assert names(engine, scope=["swarm"]) == []
    assert names(engine, dangling=["true"]) == ["shop", "workshop"]
    for filters, words in (({"nosuch": ["x"]}, "invalid filter 'nosuch'"), ({"type": ["odd"]}, "invalid filter")):
        status, message = refused(engine, "GET", f"/networks?filters={quote(json.dumps(filters))}")
        assert status == 400
        assert words in message


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"Name": "bridge"}, 403, "operation is not permitted on predefined bridge network "),
        ({"Name": ""}, 400, "invalid network name"),
        ({"Name": "x", "Driver": "overlay"}, 404, 'plugin "overlay" not found'),
        ({"Name": "x", "Driver": "host"}, 403, 'only one instance of "host" network is allowed'),
        ({"Name": "x", "Scope": "swarm"}, 403, "This node is not a swarm manager"),
        ({"Name": "x", "ConfigOnly": True}, 501, "config-only"),
        ({"Name": "x", "EnableIPv4": False}, 501, "without IPv4"),
        ({"Name": "x", "IPAM": {"Driver": "mine"}}, 404, 'plugin "mine" not found'),
        ({"Name": "x", "IPAM": {"Config": [{"Subnet": "10.0.0.1/8"}]}}, 400, "10.0.0.1/8: it should be 10.0.0.0/8"),
        ({"Name": "x", "IPAM": {"Config": [{"Gateway": "10.0.0.1"}]}}, 400, "invalid subnet"),
        ({"Name": "x", "IPAM": {"Config": [{"Subnet": 7}]}}, 400, "IPAM.Config[0].Subnet must be a text"),
        ({"Name": "x", "Labels": ["a"]}, 400, "Labels must be a map of texts"),
    ],
)  # fmt: skip
def test_networks_that_are_refused(engine: EmbeddedEngine, body: object, status: int, words: str) -> None:
    found, message = refused(engine, "POST", "/networks/create", body)
    assert found == status, message
    assert words in message
    assert names(engine, type=["custom"]) == []


def test_words_that_clients_know(engine: EmbeddedEngine) -> None:
    create(engine, "shop", IPAM={"Config": [{"Subnet": "10.88.0.0/16"}]})
    overlapping = {"Name": "x", "IPAM": {"Config": [{"Subnet": "10.88.9.0/24"}]}}
    assert refused(engine, "POST", "/networks/create", {"Name": "shop"}) == (
        409,
        "network with name shop already exists",
    )
    assert refused(engine, "POST", "/networks/create", overlapping) == (
        403,
        "Pool overlaps with other one on this address space",
    )
    assert refused(engine, "GET", "/networks/nosuch") == (404, "network nosuch not found")
    assert refused(engine, "GET", "/networks/shop?scope=swarm") == (404, "network shop not found")
    assert refused(engine, "DELETE", "/networks/nosuch") == (404, "network nosuch not found")
    assert refused(engine, "DELETE", "/networks/bridge") == (
        403,
        "bridge is a pre-defined network and cannot be removed",
    )
    assert engine.api("DELETE", "/networks/shop") == (204, "")


def test_an_ipv6_subnet_counts_where_ipv6_is_on(engine: EmbeddedEngine) -> None:
    create(engine, "shop", IPAM={"Config": [{"Subnet": "10.88.0.0/16"}, {"Subnet": "fd00:88::/64"}]})
    assert [row["Subnet"] for row in get(engine, "/networks/shop")["IPAM"]["Config"]] == ["10.88.0.0/16"]


def test_prune_of_networks(engine: EmbeddedEngine) -> None:
    create(engine, "kept", Labels={"keep": "yes"})
    create(engine, "gone")
    status, answer = engine.api("POST", f"/networks/prune?filters={quote(json.dumps({'until': ['2001-01-01']}))}")
    assert (status, answer) == (200, {"NetworksDeleted": []})
    status, answer = engine.api("POST", f"/networks/prune?filters={quote(json.dumps({'label!': ['keep']}))}")
    assert (status, answer) == (200, {"NetworksDeleted": ["gone"]})
    assert names(engine, type=["custom"]) == ["kept"]


def test_a_definition_outlives_the_daemon(spare_embedded: EmbeddedEngine) -> None:
    engine = spare_embedded
    id_ = create(engine, "shop", Labels={"a": "b"})
    before = get(engine, f"/networks/{id_}")
    engine.api("POST", "/volumes/create", {"Name": "data", "Labels": {"a": "b"}})
    engine.kill()
    engine.start_daemon()
    assert get(engine, f"/networks/{id_}") == before
    assert get(engine, "/volumes/data")["Labels"] == {"a": "b"}


# ---- with containers


def test_a_container_in_networks(engine: EmbeddedEngine, base_image: str) -> None:
    create(engine, "shop", IPAM={"Config": [{"Subnet": "10.88.0.0/24"}]})
    create(engine, "yard")
    name = engine.docker(
        "run", "-d", "--name", "web", "--network", "shop", "--ip", "10.88.0.7", base_image, "sleep", "900"
    ).stdout.strip()
    row = get(engine, "/networks/shop")["Containers"][name]
    assert row["Name"] == "web"
    assert row["IPv4Address"] == "10.88.0.7/24"
    assert row["MacAddress"] == "02:42:0a:58:00:07"
    assert len(row["EndpointID"]) == 64
    assert row["IPv6Address"] == ""
    assert names(engine, dangling=["true"]) == ["yard"]
    status, message = refused(engine, "DELETE", "/networks/shop")
    assert status == 403
    assert message.startswith("error while removing network: network shop id ")
    assert message.endswith(" has active endpoints")

    assert (
        engine.api("POST", "/networks/yard/connect", {"Container": "web", "EndpointConfig": {"Aliases": ["www"]}})[0]
        == 200
    )
    assert "eth1" in engine.docker("exec", "web", "ip", "link").stdout
    assert "Name:      www" in engine.docker("exec", "web", "nslookup", "-type=a", "www").stdout.replace("\t", "      ")
    assert refused(engine, "POST", "/networks/yard/connect", {"Container": "web"})[0] == 403
    assert engine.api("POST", "/networks/yard/disconnect", {"Container": "web"})[0] == 200
    assert refused(engine, "POST", "/networks/yard/connect", {"Container": "nosuch"}) == (
        404,
        "No such container: nosuch",
    )
    assert refused(engine, "POST", "/networks/nosuch/connect", {"Container": "web"}) == (
        404,
        "network nosuch not found",
    )
    engine.docker("rm", "-f", "web")
    assert get(engine, "/networks/shop")["Containers"] == {}


# ---- volumes


def test_the_document_of_a_volume(engine: EmbeddedEngine) -> None:
    body = {"Name": "data", "Driver": "local", "Labels": {"a": "b"}, "DriverOpts": {"type": "tmpfs", "device": "tmpfs"}}
    status, made = engine.api("POST", "/volumes/create", body)
    assert status == 201
    assert made == get(engine, "/volumes/data")
    created = made.pop("CreatedAt")
    assert created.endswith("Z")
    assert "." not in created
    assert made == {
        "Name": "data",
        "Driver": "local",
        "Labels": {"a": "b"},
        "Options": {"type": "tmpfs", "device": "tmpfs"},
        "Scope": "local",
        "Mountpoint": str(engine.root / "volumes" / "data" / "_data"),
    }
    status, anonymous = engine.api("POST", "/volumes/create", {})
    assert status == 201
    assert len(anonymous["Name"]) == 64
    assert anonymous["Labels"] == {"com.docker.volume.anonymous": ""}


def test_filters_and_prune_of_volumes(engine: EmbeddedEngine, base_image: str) -> None:
    for name, labels in (("data", {"a": "b"}), ("metadata", {}), ("used", {})):
        engine.api("POST", "/volumes/create", {"Name": name, "Labels": labels})
    engine.api("POST", "/volumes/create", {})
    engine.docker("create", "--name", "web", "-v", "used:/srv", base_image, "true")

    def found(**filters: list[str]) -> list[str]:
        return sorted(
            row["Name"] for row in get(engine, "/volumes", filters=filters)["Volumes"] if len(row["Name"]) < 64
        )

    assert found() == ["data", "metadata", "used"]
    assert found(name=["data"]) == ["data", "metadata"]
    assert found(label=["a=b"]) == ["data"]
    assert found(driver=["other"]) == []
    assert found(dangling=["true"]) == ["data", "metadata"]
    assert found(dangling=["false"]) == ["used"]
    assert refused(engine, "GET", f"/volumes?filters={quote(json.dumps({'x': ['y']}))}") == (400, "invalid filter 'x'")

    status, message = refused(engine, "DELETE", "/volumes/used")
    assert status == 409
    assert message.startswith("remove used: volume is in use - [")
    assert refused(engine, "DELETE", "/volumes/nosuch") == (404, "get nosuch: no such volume")
    assert engine.api("DELETE", "/volumes/nosuch?force=1")[0] == 204
    assert refused(engine, "PUT", "/volumes/data")[0] == 501

    status, answer = engine.api("POST", "/volumes/prune")
    assert status == 200
    assert [len(name) for name in answer["VolumesDeleted"]] == [64], "the anonymous one alone, since 1.42"
    status, answer = engine.api("POST", f"/v1.41/volumes/prune?filters={quote(json.dumps({'label': ['a']}))}")
    assert (status, answer["VolumesDeleted"]) == (200, ["data"]), "before it, all"
    status, answer = engine.api("POST", f"/volumes/prune?filters={quote(json.dumps({'all': ['1']}))}")
    assert (status, answer["VolumesDeleted"]) == (200, ["metadata"])
    assert found() == ["used"]
    engine.docker("rm", "web")
