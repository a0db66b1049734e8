"""A real Podman for tests, behind its Docker-compatible API, as `engines.Engine` is a dockerd.

Its programs are unpacked beside the system by `tests/install-host`. It has no daemon that outlives a call but the service that
answers; monitors and containers are in the engine's process namespace, and end with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests import engines
from tests.engines import CACHE, Flavour

_ROOT = CACHE / "podman" / "root"
_PARENT = "libpod_parent"  # podman-create(1), --cgroup-parent: where containers' control groups are without systemd
_CONFIG = """\
[containers]
default_capabilities = [{powers}]
default_sysctls = ["net.ipv4.ping_group_range=0 0"]

[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
helper_binaries_dir = ["{helpers}"]
init_path = "/usr/bin/tini-static"
runtime = "runc"

[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
"""
_POWERS = (  # with the sysctl, what Debian's /usr/share/containers/containers.conf states: this one takes its place
    *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE"),
    *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
)

DEBIAN_12 = Flavour(
    name="podman4", program="podman", path=f"{_ROOT}/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin", docker="/usr/bin/docker"
)


@dataclass(slots=True, kw_only=True)
class Podman(engines.Engine):
    """One running `podman system service`."""

    flavour: Flavour = DEBIAN_12

    def stop(self) -> None:
        engines.Engine.stop(self)
        engines.remove_control_groups(_PARENT)

    def _command(self) -> list[str]:
        config = self.folder / "containers.conf"
        powers = ", ".join(f'"{name}"' for name in _POWERS)
        config.write_text(_CONFIG.format(powers=powers, helpers=_ROOT / "usr/lib/podman", folder=self.folder))
        libraries = ":".join(map(str, sorted((_ROOT / "usr/lib").glob("*-linux-gnu"))))
        command = ["env", f"PATH={self.flavour.path}", f"LD_LIBRARY_PATH={libraries}", f"CONTAINERS_CONF={config}"]
        command += [str(self.flavour.daemon), f"--root={self.folder}/data", f"--runroot={self.folder}/run"]
        return [*command, f"--tmpdir={self.folder}/own", "system", "service", "--time=0", self.url]
