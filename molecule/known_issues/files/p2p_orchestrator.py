"""Stands in for the original orchestrator: its flags, and answers of one that hears nobody."""

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

parser = argparse.ArgumentParser()
for flag in ("--node-id", "--host", "--peers"):
    parser.add_argument(flag, required=True)
parser.add_argument("--port", type=int, required=True)
ARGS = parser.parse_args()


class Handler(BaseHTTPRequestHandler):
    """/health and /status."""

    def do_GET(self) -> None:
        """Answer with the keys that the original's answers have."""
        body = {"node_id": ARGS.node_id, "role": "follower", "leader_id": None, "alive_peers": 0, "peers": {}}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


ThreadingHTTPServer((ARGS.host, ARGS.port), Handler).serve_forever()
