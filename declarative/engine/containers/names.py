"""Names of containers: which are allowed, and what one is called that nobody named.

The rule that keeps it simple: an adjective and a noun of two short lists; when several are taken, a number is added.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

_ALLOWED = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+", re.ASCII)
_TRIES = 6

_ADJECTIVES = (
    "able agile airy amber ample apt avid bold brave breezy bright brisk calm candid civil clear clever cosy crisp "
    "curious daring deft direct eager early earnest easy even exact fair fast fine firm fleet fond frank free fresh "
    "gentle glad golden good grand green handy happy hardy hearty honest humble jolly just keen kind lively loyal "
    "lucid lucky mellow merry mild modest neat new nimble noble open patient plain polite prompt proud pure quick "
    "quiet rapid ready regal robust rosy round sharp shiny silent silver simple sincere sleek smart smooth snug "
    "sober solid sound spry steady stout strong sturdy sunny sure swift tender tidy true upbeat vivid warm wise "
    "witty young zesty"
)
_NOUNS = (
    "acorn alder anchor anvil apple arbor arrow ash aspen badger bay beacon beaver beech birch bison bluff bough "
    "bridge brook canyon cedar cliff clover coast comet condor copper coral cove crane creek cypress dale delta "
    "dolphin dune eagle elder elm ember falcon fern finch fjord forest fox garden glacier glade grove gull harbor "
    "hare hawk hazel heath heron hill holly island ivy jay juniper kestrel lagoon lake lantern larch lark lily "
    "linden lynx maple marsh meadow mesa mill moon moss oak ocean orchard orchid osprey otter owl pebble pelican "
    "pine plover pond poplar prairie quail quarry rapids raven reef ridge river robin rowan sage salmon shore "
    "sparrow spring spruce star stone stork stream summit swallow swan thistle thrush tide trail trout tulip valley "
    "violet walnut wave willow wren yew"
)

ADJECTIVES = tuple(_ADJECTIVES.split())
NOUNS = tuple(_NOUNS.split())


def check(name: str) -> str:
    """Give a name without its slash. Invalid, in Docker's words, for one that is none."""
    if not _ALLOWED.fullmatch(name):
        raise Invalid("", f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return name.removeprefix("/")


def make_up(choose: Callable[[int], int], taken: Callable[[str], bool]) -> str:
    """Give a free name. `choose(n)` gives a number below n."""
    name = ""
    for attempt in range(_TRIES):
        name = f"{ADJECTIVES[choose(len(ADJECTIVES))]}_{NOUNS[choose(len(NOUNS))]}"
        if attempt:
            name += str(choose(10**attempt))
        if not taken(name):
            return name
    while taken(name):
        name = f"{name.rstrip('0123456789')}{choose(10**9)}"
    return name
