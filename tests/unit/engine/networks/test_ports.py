"""Ports of the machine, held for containers by sockets of ours."""

from __future__ import annotations

from declarative.engine.networks.ports import HostPorts
from declarative.engine.networks.records import PortRequest


def test_a_port_is_free_at_once_though_a_process_that_is_just_being_made_has_a_copy_of_its_socket() -> None:
    ports = HostPorts()
    taken = ports.take([PortRequest(port=80, host_address="127.0.0.1")])
    ((port, sock),) = taken.items()
    assert sock is not None
    with sock.dup():
        ports.release(taken)
        again = PortRequest(port=80, host_address="127.0.0.1", host_ports=(port.host_port, port.host_port))
        assert list(ports.take([again])) == [port]
    ports.close()
