"""Runs on a voter, as root: prints as JSON what its data directory and its etcd member really are."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import ssl
import subprocess
from pathlib import Path
from typing import Any

DATA, TLS = Path("/var/lib/p2p-etcd"), Path("/etc/p2p-etcd/tls")
LISTS = (TLS / "crl.pem", Path("/etc/ringrift/tls/denied"))
TIMEOUT_S = 5.0


def data() -> str:
    """Return what tells this data directory from any that is made in its place, "" if there is none."""
    # A number of an inode may come again, not with the same second of birth.
    words = ["stat", "--format", "%i %W", str(DATA / "member")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def store() -> dict[str, Any]:
    """Return what the member says of itself and the others; a read that takes the quorum comes first."""
    context = ssl.create_default_context(cafile=str(TLS / "ca.crt"))
    context.load_cert_chain(TLS / "node.crt", TLS / "node.key")
    connection = http.client.HTTPSConnection("127.0.0.1", 2379, timeout=TIMEOUT_S, context=context)

    def ask(path: str, **words: object) -> dict[str, Any]:
        connection.request("POST", path, json.dumps(words), {"Content-Type": "application/json"})
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer

    read = ask("/v3/kv/range", key=base64.b64encode(b"/").decode(), count_only=True)
    if "header" not in read:
        return {"error": str(read)}
    status, listed = ask("/v3/maintenance/status"), ask("/v3/cluster/member/list")
    return {
        "cluster": status["header"]["cluster_id"],
        "member": status["header"]["member_id"],
        "members": {item.get("name", ""): item["ID"] for item in listed["members"]},
        "learners": [item.get("name", "") for item in listed["members"] if item.get("isLearner")],
    }


def main() -> None:
    """Print it."""
    try:
        told = store()
    except (OSError, http.client.HTTPException, ValueError) as error:
        told = {"error": f"{type(error).__name__}: {error}"}
    denied = [hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "" for path in LISTS]
    aside = sorted(map(str, DATA.parent.glob(f"{DATA.name}.*")))
    print(json.dumps({"data": data(), "aside": aside, "denied": denied, "store": told}))


if __name__ == "__main__":
    main()
