"""Other firewalls of this machine: what they drop without asking, our networks are let through.

dockerd sets the policy of the chain FORWARD to DROP, ufw those of FORWARD and INPUT; a verdict of our own table cannot change
that. So a chain of ours is put at the end of theirs, where only packets come that nothing else decided on, and taken away again.
The rule that keeps it simple: it is one list of rules per chain, worked out anew and written whole where it differs from what was
written last. dockerd's own bridges stay closed to our containers, as its policy has it. firewalld is asked (`firewalld`).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.engine.networks import firewalld
from declarative.errors import Failed
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from declarative.engine.networks.nftables import Nftables

_CHAINS = ("FORWARD", "INPUT")
_DOCKER_BRIDGE = re.compile(r'^-A FORWARD -o (\S+) .*-j DOCKER$|oifname "([^"]+)" .*jump DOCKER$', re.MULTILINE)
_SECONDS = 30


@record
class _Backend:
    """One iptables: for IPv4 or IPv6, with its rules in nftables or in the kernel's old tables."""

    program: str
    family: str
    legacy: bool


class Neighbours:
    """Our accept rules in others' chains. `name`: of our chain. Safe to use from several threads."""

    def __init__(self, nftables: Nftables, name: str) -> None:
        self._nftables = nftables
        self._name = name.upper()[:24]  # a chain's name has 28 characters at most
        self._lock = threading.Lock()
        self._firewalld = firewalld.Firewalld()
        self._written: dict[tuple[_Backend, str], tuple[str, ...]] = {}

    def let_through(self, bridges: Iterable[str]) -> None:
        """Have others' chains let our bridges through where they drop by policy, and in no other place. Failed."""
        names = sorted(bridges)
        with self._lock:
            for backend in _backends():
                for chain in _CHAINS:
                    self._settle(backend, chain, names)
            if f"table {firewalld.TABLE}" in self._nftables.run("list tables").splitlines():
                self._firewalld.let_through(names)
            else:
                self._firewalld.forget()

    def strict(self) -> set[str]:
        """Give the chains of others, iptables' aside, that drop forwarded packets by policy: nothing of ours can be put there."""
        passed = {(f"{backend.family} filter", "FORWARD") for backend in _backends()} | {firewalld.RELOADING}
        found, table, chain = set(), "", ""
        for line in self._nftables.run("list chains").splitlines():
            words = line.split()
            if words[:1] == ["table"]:
                table = " ".join(words[1:3])
            elif words[:1] == ["chain"]:
                chain = words[1]
            elif "hook forward" in line and "policy drop" in line and (table, chain) not in passed:
                found.add(f"chain {chain} of table {table}")
        return found

    def _settle(self, backend: _Backend, chain: str, bridges: list[str]) -> None:
        shown = self._shown(backend, chain)
        mine = f"{self._name}-{chain[:3]}"
        is_there = re.search(rf"\b{re.escape(mine)}\b", shown) is not None
        drops = "policy drop" in shown or f"-P {chain} DROP" in shown
        if not drops or not bridges:
            if is_there:
                self._remove(backend, chain)
            return
        rules = tuple(_forward(bridges, _dockers(shown)) if chain == "FORWARD" else _input(bridges))
        if is_there and self._written.get((backend, chain)) == rules:
            return
        lines = [f"*filter\n:{mine} - [0:0]", *(f"-A {mine} {rule}" for rule in rules)]
        lines += [] if is_there else [f"-A {chain} -j {mine}"]
        _restore(backend, "\n".join([*lines, "COMMIT\n"]))
        self._written[backend, chain] = rules

    def _remove(self, backend: _Backend, chain: str) -> None:
        mine = f"{self._name}-{chain[:3]}"
        self._written.pop((backend, chain), None)
        if mine in self._shown(backend, chain):
            _restore(backend, f"*filter\n:{mine} - [0:0]\n-D {chain} -j {mine}\n-X {mine}\nCOMMIT\n")

    def _shown(self, backend: _Backend, chain: str) -> str:
        """Give a chain's policy and rules, as either backend prints them; "" where there is none."""
        if backend.legacy:
            return _run(backend, "-S", chain)
        try:
            return self._nftables.run(f"list chain {backend.family} filter {chain}")
        except Failed:  # nobody made it
            return ""


def _backends() -> list[_Backend]:
    """Give the iptables that have a filter table now: asking the others would make one."""
    found = []
    for prefix, family, table in (("ip", "ip", "ip_tables_names"), ("ip6", "ip6", "ip6_tables_names")):
        found.append(_Backend(program=_program(f"{prefix}tables", "nft"), family=family, legacy=False))
        try:
            names = Path(f"/proc/net/{table}").read_text().split()
        except OSError:
            continue
        if "filter" in names:
            found.append(_Backend(program=_program(f"{prefix}tables", "legacy"), family=family, legacy=True))
    return [backend for backend in found if backend.program]


def _program(name: str, flavour: str) -> str:
    """Give the program that speaks to one backend, "" where there is none. Before 1.8 there was no choice, and no suffix."""
    return shutil.which(f"{name}-{flavour}") or (shutil.which(name) or "" if flavour == "legacy" else "")


def _forward(bridges: list[str], others: list[str]) -> Iterable[str]:
    for bridge in bridges:
        yield f"-o {bridge} -j ACCEPT"  # our own table has dropped what may not come in
    for bridge in bridges:
        for other in others:
            yield f"-i {bridge} -o {other} -j RETURN"
    for bridge in bridges:
        yield f"-i {bridge} -j ACCEPT"


def _input(bridges: list[str]) -> Iterable[str]:
    """Let containers ask our name server, to whose port our table has led them."""
    for bridge in bridges:
        for protocol in ("udp", "tcp"):
            yield f"-i {bridge} -p {protocol} -m conntrack --ctstate DNAT --ctorigdstport 53 -j ACCEPT"


def _dockers(shown: str) -> list[str]:
    return sorted({first or second for first, second in _DOCKER_BRIDGE.findall(shown)})


def _restore(backend: _Backend, script: str) -> None:
    """Change the filter table in one step, and nothing of it that is not named."""
    argv = [f"{backend.program}-restore", "--noflush", "--wait", "5"]
    ended = subprocess.run(argv, check=False, capture_output=True, text=True, input=script, timeout=_SECONDS)
    if ended.returncode:
        raise Failed(
            Path(backend.program).name, f"our rules in the chains of others are refused: {ended.stderr.strip()}"
        )


def _run(backend: _Backend, *arguments: str) -> str:
    argv = [backend.program, "--wait", "5", *arguments]
    ended = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=_SECONDS)
    return ended.stdout if ended.returncode == 0 else ""
