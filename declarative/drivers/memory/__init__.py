"""An engine in memory: a small honest one, for tests by the thousand. It keeps every promise of `drivers.port`."""

from declarative.drivers.memory.driver import MemoryDriver
from declarative.drivers.memory.engine import MemoryEngine
from declarative.drivers.memory.life import Program
from declarative.drivers.memory.registry import MemoryRegistry

__all__ = ["MemoryDriver", "MemoryEngine", "MemoryRegistry", "Program"]
