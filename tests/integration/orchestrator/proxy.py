"""A SOCKS5 proxy: `ssh -D` over a server of its own, which shares this machine's network."""

import socket
import subprocess
from pathlib import Path
from typing import Self

from tests.integration.orchestrator.cluster import wait

IMAGE = "p2p-cluster/node:debian-12"


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Proxy:
    """OpenSSH's own proxy; its server answers on the client's standard input and listens nowhere."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.port = _free_port()
        self.log = path / "proxy.log"
        self.process: subprocess.Popen[bytes] | None = None

    def _server(self) -> str:
        options = ["StrictModes=no", "PermitRootLogin=yes", "UsePAM=no", "AuthorizedKeysFile=/k/user.pub"]
        sshd = "/usr/sbin/sshd -i -e -f /dev/null -h /k/host " + " ".join(f"-o {item}" for item in options)
        start = f"mkdir -p /run/sshd && cp -r /keys /k && chown -R 0:0 /k && exec {sshd}"
        docker = f"docker run --rm --interactive --network host --volume {self.path}:/keys:ro"
        return f"{docker} --entrypoint /bin/sh {IMAGE} -c '{start}'"

    def __enter__(self) -> Self:
        """Start it, with keys made for the occasion."""
        for name in ("host", "user"):
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.path / name)]
            subprocess.run(words, check=True, capture_output=True)
        words = ["ssh", "-v", "-F", "/dev/null", "-N", "-D", f"127.0.0.1:{self.port}", "-l", "root"]
        words += ["-i", str(self.path / "user"), "-o", "StrictHostKeyChecking=no"]
        words += ["-o", f"UserKnownHostsFile={self.path / 'known'}", "-o", f"ProxyCommand={self._server()}"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*words, "proxy"], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        wait("the proxy listens", self._listens, 60)
        return self

    def _listens(self) -> bool:
        with socket.socket() as found:
            return found.connect_ex(("127.0.0.1", self.port)) == 0

    def connections(self) -> int:
        """Return how many were made through it."""
        return self.log.read_text(errors="replace").count("dynamic-tcpip")

    def __exit__(self, *_: object) -> None:
        """Stop it; its server goes with it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
