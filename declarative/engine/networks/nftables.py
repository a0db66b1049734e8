"""nftables: scripts run by the library in this process, or by the `nft` command where the library is missing.

The rule that keeps it simple: a script is one transaction; all of it happens or nothing. Nothing here knows what a rule is for.
"""

from __future__ import annotations

import ctypes
import subprocess
import threading
from typing import Any

from declarative.errors import Failed, Unsupported

_LIBRARY = "libnftables.so.1"


class Nftables:
    """Runs scripts of nft(8) in the network namespace of the thread that first calls it. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._library: Any = None
        self._context: Any = None

    def run(self, script: str) -> str:
        """Run a script, and give what it prints. Failed with nft's words; Unsupported without library and command."""
        with self._lock:
            if self._library is None:
                self._library = _load()
            if self._library is False:
                return _by_command(script)
            return self._by_library(script)

    def close(self) -> None:
        """Let the library's memory and socket go."""
        with self._lock:
            if self._context is not None:
                self._library.nft_ctx_free(self._context)
                self._context = None

    def _by_library(self, script: str) -> str:
        library = self._library
        if self._context is None:
            self._context = library.nft_ctx_new(0)
            library.nft_ctx_buffer_output(self._context)
            library.nft_ctx_buffer_error(self._context)
        code = library.nft_run_cmd_from_buffer(self._context, script.encode())
        # reading a buffer empties it
        output, error = (
            library.nft_ctx_get_output_buffer(self._context),
            library.nft_ctx_get_error_buffer(self._context),
        )
        if code:
            raise _failed((error or b"").decode(errors="replace"))
        return (output or b"").decode(errors="replace")


def _load() -> Any:
    """Give the library with the calls that we make, False where there is none."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return False
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_free.argtypes = [ctypes.c_void_p]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).restype = ctypes.c_char_p
        getattr(library, name).argtypes = [ctypes.c_void_p]
    for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library


def _by_command(script: str) -> str:
    try:
        ended = subprocess.run(
            ["nft", "-f", "-"], check=False, capture_output=True, text=True, input=script, timeout=30
        )
    except FileNotFoundError:
        raise Unsupported(
            "nftables",
            "neither libnftables.so.1 nor the command nft is on this machine",
            "install the package nftables",
        ) from None
    if ended.returncode:
        raise _failed(ended.stderr)
    return ended.stdout


def _failed(error: str) -> Failed:
    lines = error.strip().splitlines()
    said = lines[0].removeprefix("Error: ") if lines else "it says nothing"
    return Failed("nftables", f"the rules of networks are refused: {said}", output=error)
