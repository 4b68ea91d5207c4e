#!/usr/bin/env python3
"""Stands in for the original orchestrator: its flags, variables and answers, and one job that it starts."""

import argparse
import http.client
import json
import os
import subprocess
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import aiohttp
import psutil
import yaml

NEEDED = (aiohttp, psutil, yaml)  # without them the original does not start either
VOTERS = os.environ["RINGRIFT_P2P_VOTERS"].split(",")

parser = argparse.ArgumentParser()
for flag in ("--node-id", "--host", "--peers", "--ringrift-path"):
    parser.add_argument(flag, required=True)
parser.add_argument("--port", type=int, required=True)
ARGS = parser.parse_args()


def peer_id(url: str) -> str | None:
    """Return the id of a peer, or None if it does not answer."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:  # noqa: S310  the seeds are http URLs
            return str(json.load(answer)["node_id"])
    except (OSError, ValueError, http.client.HTTPException):
        return None


class Handler(BaseHTTPRequestHandler):
    """/health and /status."""

    def do_GET(self) -> None:
        """Answer with the keys that the original's answers have."""
        body: dict[str, object] = {"node_id": ARGS.node_id, "healthy": True}
        if self.path == "/status":
            alive = sorted(set(VOTERS) & {peer_id(url) for url in ARGS.peers.split(",")})
            quorum = len(alive) >= int(os.environ["RINGRIFT_P2P_VOTER_MIN_QUORUM"])
            leader = alive[0] if quorum else None
            body |= {
                "role": "leader" if leader == ARGS.node_id else "follower",
                "leader_id": leader,
                "voter_node_ids": VOTERS,
                "voter_quorum_size": int(os.environ["RINGRIFT_P2P_VOTER_MIN_QUORUM"]),
                "voters_alive": len(alive),
                "voter_quorum_ok": quorum,
                "alive_peers": len(alive),
                "peers": {},
                "self": {"node_id": ARGS.node_id},
            }
        text = json.dumps(body).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


job = Path(ARGS.ringrift_path).expanduser() / "job.pid"
if not job.exists():
    job.write_text(str(subprocess.Popen(["sleep", "1000000"], start_new_session=True).pid))
ThreadingHTTPServer((ARGS.host, ARGS.port), Handler).serve_forever()
