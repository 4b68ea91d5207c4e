"""Runs the stand-in."""

import http.server
import json
import os
import socket
from pathlib import Path

import idna  # proves that the lock was installed

PEERS = {"b": {"is_alive": True, "cpu_count": 2}, "c": {"is_alive": False}, "d": {}}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers /health and /status."""

    def do_GET(self) -> None:
        """Answer."""
        body = {"healthy": True, "node_id": "a", "idna": idna.encode("münchen.example").decode()}
        if self.path == "/status":
            body = {
                "node_id": "a",
                "leader_id": "b",
                "term": 7,
                "peers": PEERS,
                "cluster_elo": {"big": [0] * 100},
            }
        raw = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class calls it so
        """Say nothing."""


def main() -> None:
    """Serve."""
    settings = Path(os.environ["P2P_TEST_CONF"]).read_text()
    if "crash" in settings:
        raise SystemExit("the configuration says crash")
    server = http.server.ThreadingHTTPServer(("0.0.0.0", 8770), Handler)  # noqa: S104  inside a container
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.connect(os.environ["NOTIFY_SOCKET"])
        notify.send(b"READY=1")
    server.serve_forever()


main()
