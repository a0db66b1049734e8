"""firewalld, which ends its chains in a refusal: our bridges belong to its zone of what is trusted.

Its tables are its own, and a verdict of another table changes nothing; so it is asked, over D-Bus, as `firewall-cmd` asks it
(man 5 firewalld.dbus). What it is told lasts until it is restarted or reloaded completely: the rules it writes then are noticed
like those of other neighbours, and it is told again. The rule that keeps it simple: a bridge that an administrator put into any
zone stays there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.errors import Failed

if TYPE_CHECKING:
    from collections.abc import Iterable

TABLE = "inet firewalld"
RELOADING = ("inet firewalld_policy_drop", "filter_forward")  # drops what is new while firewalld writes its rules anew
_ZONE = "trusted"
_NAME = "org.fedoraproject.FirewallD1"
_SECONDS = 10.0


class Firewalld:
    """What firewalld was told of us. Used under its owner's lock."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def let_through(self, bridges: Iterable[str]) -> None:
        """Have these bridges trusted, and none that it was told of before. Failed where firewalld does not do so."""
        wanted = set(bridges)
        if not wanted and not self._told:
            return
        from jeepney.io.blocking import open_dbus_connection

        try:
            with open_dbus_connection(bus="SYSTEM") as bus:
                for gone in sorted(self._told - wanted):
                    self._told.discard(gone)
                    _ask(bus, "removeInterface", "ss", (_ZONE, gone))
                trusted = set(_ask(bus, "getInterfaces", "s", (_ZONE,)) or ())
                for bridge in sorted(wanted - trusted):
                    if not _ask(bus, "getZoneOfInterface", "s", (bridge,)):
                        _ask(bus, "addInterface", "ss", (_ZONE, bridge))
                        self._told.add(bridge)
        except (OSError, TimeoutError, EOFError) as error:
            raise Failed(
                "firewalld", f"does not answer: {error}", "see whether it runs: `firewall-cmd --state`"
            ) from error

    def forget(self) -> None:
        """Note that firewalld is gone, with all that it was told."""
        self._told.clear()


def _ask(bus: Any, method: str, signature: str, values: tuple[str, ...]) -> Any:
    """Make a call; gives the answer's first value, None for an error that says that all is as asked for."""
    from jeepney import DBusAddress, HeaderFields, MessageType, new_method_call

    zone = DBusAddress("/org/fedoraproject/FirewallD1", bus_name=_NAME, interface=f"{_NAME}.zone")
    reply = bus.send_and_get_reply(new_method_call(zone, method, signature, values), timeout=_SECONDS)
    if reply.header.message_type is not MessageType.error:
        return reply.body[0] if reply.body else None
    words = str(reply.body[0]) if reply.body else str(reply.header.fields.get(HeaderFields.error_name))
    if words.startswith(("UNKNOWN_INTERFACE", "ZONE_ALREADY_SET", "ALREADY_ENABLED")):
        return None
    raise Failed(
        "firewalld", f"does not let our bridges through: {words}", f"`firewall-cmd --zone={_ZONE} --add-interface=…`"
    )
