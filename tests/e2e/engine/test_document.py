"""Every command line of the document that the project came from, in its order, at a daemon of dockerd's and at ours.

Its images are translated to what a machine without Docker Hub has: busybox for centos and ubuntu, a registry of the test's own
with an `httpd`. `test_build_document.py` has what needs a Debian and its mirror.

The rule that keeps it simple: the document's words on the left of `==`, what they must bring about on the right.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tests.e2e.engine.clients import IMAGE, Daemon
from tests.embedded import EmbeddedEngine

if TYPE_CHECKING:
    from pathlib import Path

_SERVE = "mkdir -p /www && echo it works > /www/index.html && exec httpd -f -p 80 -h /www"


def test_client(daemon: Daemon) -> None:
    ended = daemon.docker("-H", daemon.url, "info", env={"DOCKER_HOST": "unix:///nonexistent"})
    assert "Server:" in ended.stdout
    assert IMAGE.partition(":")[0] in daemon.out("images")
    daemon.up("runs")
    assert "runs" in daemon.out("ps")
    assert "runs" in daemon.out("container", "ls")


def test_info_over_the_network(embedded: Daemon, tmp_path: Path) -> None:
    """`docker -H 192.168.56.102 info`: beyond loopback that takes certificates, which `test_engine_verb.py` tries."""
    with EmbeddedEngine(options=("--host=tcp://127.0.0.1:2375",), base=False) as engine:
        engine.bring_out(2375)
        daemon = Daemon(engine=engine, home=tmp_path)
        assert "Server:" in daemon.docker("-H", "127.0.0.1", "info").stdout
    assert embedded.lines("ps", "-q") == []


def test_a_container_in_interactive_mode_with_a_terminal(daemon: Daemon) -> None:
    with daemon.terminal("run", "-it", IMAGE) as terminal:
        terminal.read_until("/ # ")
        terminal.type("echo in $HOSTNAME; exit\n")
        assert terminal.finish() == 0
    (made,) = daemon.lines("ps", "-aq")
    assert f"in {made}" in terminal.seen


def test_commit_after_changes_by_hand(daemon: Daemon) -> None:
    """`docker run -it ubuntu`, install something, `docker ps`, `docker commit silly_goldberg ubuntu-with-vi`, `docker images`."""
    with daemon.terminal("run", "-it", IMAGE) as terminal:
        terminal.read_until("/ # ")
        terminal.type("printf '#!/bin/sh\\necho vi of mine\\n' > /bin/vim; chmod +x /bin/vim; echo installed\n")
        terminal.read_until("installed\r\n")
        (name,) = daemon.lines("ps", "--format", "{{.Names}}")
        daemon.docker("commit", name, "ubuntu-with-vi")
        terminal.type("exit\n")
        terminal.finish()
    assert "ubuntu-with-vi" in daemon.out("images")
    assert daemon.run("ubuntu-with-vi", "vim") == "vi of mine"
    assert daemon.docker("run", "--rm", IMAGE, "vim", check=False).returncode == 127


def test_dockerfile(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN echo vi > /bin/vim && chmod +x /bin/vim\n")
    first = daemon.docker("build", "-t", "ubuntu-with-vi-dockfile", ".", cwd=tmp_path).stdout
    assert "Sending build context to Docker daemon" in first
    assert "Running in" in first
    assert daemon.lines("ps", "-aq") == []  # the temporary container is gone
    assert "Using cache" in daemon.docker("build", "-t", "ubuntu-with-vi-dockfile", ".", cwd=tmp_path).stdout
    ended = daemon.docker("build", "--no-cache", "-t", "ubuntu-with-vi:latest", ".", cwd=tmp_path)
    assert "Using cache" not in ended.stdout
    rows = daemon.lines("history", "--no-trunc", "--format", "{{.CreatedBy}}", "ubuntu-with-vi-dockfile")
    assert rows[0] == "/bin/sh -c echo vi > /bin/vim && chmod +x /bin/vim"


def test_a_lower_layer_that_changes_invalidates_all_above(daemon: Daemon) -> None:
    text = 'FROM {image}\nRUN echo emacs {n} > /emacs\nRUN echo apache > /apache\nCMD ["/bin/sh"]\n'
    daemon.docker("build", "-t", "layers", "-", stdin=text.format(image=IMAGE, n=1))
    assert (
        daemon.docker("build", "-t", "layers", "-", stdin=text.format(image=IMAGE, n=1)).stdout.count("Using cache")
        == 3
    )
    assert (
        daemon.docker("build", "-t", "layers", "-", stdin=text.format(image=IMAGE, n=2)).stdout.count("Using cache")
        == 0
    )
    assert daemon.run("layers", "cat", "/emacs", "/apache") == "emacs 2\napache"


def test_debugging_a_dockerfile_by_running_the_last_good_layer(daemon: Daemon) -> None:
    dockerfile = f"FROM {IMAGE}\nRUN touch /tmpfile\nRUN /bin/bash -c echo continue\nCOPY testfile /\n"
    ended = daemon.docker("build", "-t", "image-from-dockerfile", "-", stdin=dockerfile, check=False)
    assert ended.returncode != 0
    layer = re.findall(r"^ ---> ([0-9a-f]{12})$", ended.stdout, re.MULTILINE)[-1]
    with daemon.terminal("run", "-it", layer) as terminal:
        terminal.read_until("/ # ")
        terminal.type("ls /tmpfile; /bin/bash -c 'echo continue'; exit\n")
        terminal.finish()
    assert "/tmpfile" in terminal.seen
    assert "not found" in terminal.seen  # that is what was wrong: the image has no bash


def test_many_tags_of_one_image_and_how_they_move(daemon: Daemon) -> None:
    """The document's tags: 1, 1.9, 1.9.1 and latest, which move with 1.9.2, and 2, 2.0, 2.0.0 and latest after it."""

    def pointing() -> dict[str, str]:
        return dict(
            line.split() for line in daemon.lines("images", "myimage", "--no-trunc", "--format", "{{.Tag}} {{.ID}}")
        )

    made = {}
    for version in ("1.9.1", "1.9.2", "2.0.0"):
        dockerfile = f"FROM {IMAGE}\nLABEL version={version}\n"
        made[version] = daemon.out("build", "-q", "-t", f"myimage-v{version}", "-", stdin=dockerfile)
    for version in made:
        major, minor, _ = version.split(".")
        for tag in (major, f"{major}.{minor}", version, "latest"):
            daemon.docker("tag", f"myimage-v{version}", f"myimage:{tag}")
    assert pointing() == {
        "1": made["1.9.2"], "1.9": made["1.9.2"], "1.9.1": made["1.9.1"], "1.9.2": made["1.9.2"],
        "2": made["2.0.0"], "2.0": made["2.0.0"], "2.0.0": made["2.0.0"], "latest": made["2.0.0"],
    }  # fmt: skip


def test_an_image_goes_when_its_last_tag_goes(daemon: Daemon) -> None:
    made = daemon.out(
        "build", "-q", "-t", "debian:latest", "-t", "debian:12", "-", stdin=f"FROM {IMAGE}\nLABEL os=debian\n"
    )
    daemon.docker("rmi", "debian:latest")
    assert daemon.inspect(made, kind="image")["RepoTags"] == ["debian:12"]
    assert f"Deleted: {made}" in daemon.out("rmi", "debian:12")


def test_add_read_change_and_delete_files(daemon: Daemon) -> None:
    daemon.docker(
        "build", "-t", "lower", "-", stdin=f"FROM {IMAGE}\nRUN echo a > /read; echo b > /changed; echo c > /deleted\n"
    )
    daemon.up("box", image="lower")
    daemon.sh("box", "echo new > /added; cat /read; echo more >> /changed; rm /deleted")
    assert sorted(daemon.lines("diff", "box")) == ["A /added", "C /changed", "D /deleted"]
    assert daemon.run("lower", "cat", "/read", "/changed", "/deleted") == "a\nb\nc"


def test_registry_and_how_the_parts_work_together(daemon: Daemon, pushed: str) -> None:
    """`docker pull hello-world`, `docker run hello-world`, `docker run -d -p 80:80 httpd`."""
    dockerfiles = {
        "hello-world": f'FROM {IMAGE}\nCMD ["echo", "Hello from Docker!"]\n',
        "httpd": f"FROM {IMAGE}\nEXPOSE 80\nCMD {json.dumps(['sh', '-c', _SERVE])}\n",
    }
    for name, text in dockerfiles.items():
        daemon.docker("build", "-q", "-t", f"{pushed}/{name}", "-", stdin=text)
        daemon.docker("push", f"{pushed}/{name}")
        daemon.docker("rmi", f"{pushed}/{name}")
    assert "Downloaded newer image" in daemon.out("pull", f"{pushed}/hello-world")
    assert daemon.out("run", f"{pushed}/hello-world") == "Hello from Docker!"
    ended = daemon.docker("run", "-d", "-p", "80:80", f"{pushed}/httpd")
    assert f"Unable to find image '{pushed}/httpd:latest' locally" in ended.stderr
    assert daemon.wait_http(80) == "it works\n"
    assert f"{pushed}/httpd" in daemon.out("images")


def test_search(embedded: Daemon, tmp_path: Path) -> None:
    """`docker search httpd`: the registry's catalogue, where dockerd knows the Hub's alone."""
    from tests.registry_server import serve_registry

    with serve_registry(tmp_path / "registry") as address:
        embedded.engine.reach(int(address.rpartition(":")[2]))
        embedded.docker("tag", IMAGE, f"{address}/httpd")
        embedded.docker("push", f"{address}/httpd")
        assert "httpd" in embedded.out("search", f"{address}/httpd")
