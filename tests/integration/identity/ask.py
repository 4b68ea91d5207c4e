"""One request over TLS from where this runs, and what came of it. Nodes run it with their own Python."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import sys
import tempfile
from pathlib import Path
from typing import Any

SECONDS = 20.0


def ask(order: dict[str, Any]) -> dict[str, Any]:
    """Send one request.

    Args:
        order: `host` and `port`; `name`, which the other side's certificate has to carry; `ca`, PEM;
            `pem`, a certificate and its key, or nothing; `path`; `body`, text, or null for a GET.

    Returns:
        `serial` of the other side's certificate once the handshake is done, then `status` and `body`, or
        `error` if one side refused the other.
    """
    context = ssl.create_default_context(cadata=order["ca"])
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        if order.get("pem"):
            pem = Path(folder, "pem")
            pem.touch(mode=0o600)
            pem.write_text(order["pem"])
            context.load_cert_chain(pem)
        try:
            raw = socket.create_connection((order["host"], order["port"]), SECONDS)
            with raw, context.wrap_socket(raw, server_hostname=order["name"]) as connection:
                result["serial"] = str((connection.getpeercert() or {})["serialNumber"]).lower().lstrip("0")
                client = http.client.HTTPConnection(order["host"], order["port"])
                client.sock = connection
                body = order.get("body")
                client.request("GET" if body is None else "POST", order["path"], body)
                answer = client.getresponse()
                result |= {"status": answer.status, "body": answer.read().decode(errors="replace")}
        except (OSError, http.client.HTTPException) as error:
            result["error"] = f"{type(error).__name__}: {error}"
    return result


if __name__ == "__main__":
    print(json.dumps(ask(json.loads(sys.argv[1]))))
