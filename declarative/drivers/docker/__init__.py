"""The driver of engines that speak the Docker Engine API: Docker, Podman, and whatever else answers as they do."""

from declarative.drivers.docker.driver import DockerDriver, Surroundings

__all__ = ["DockerDriver", "Surroundings"]
