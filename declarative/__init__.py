"""A declarative tool for containers. Holds `__version__` alone: importing the package costs nothing."""

__version__ = "0.1.0"
