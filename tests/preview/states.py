"""The start states of the preview harness: one node each, and what is done to it after a first deploy."""

from __future__ import annotations

from typing import NamedTuple

NETWORK = "p2p-preview"
SITE = "/opt/p2p-cluster/current/venv/lib/python3.*/site-packages"
UNIT = "/etc/systemd/system/p2p_orchestrator.service"

# A stand-in for the program that ran before, where it used to lie, and how it was started.
BEFORE = """
mkdir -p /root/ringrift/scripts
cat > /root/ringrift/scripts/p2p_orchestrator.py <<'END'
import http.server
http.server.HTTPServer(("", 8770), http.server.SimpleHTTPRequestHandler).serve_forever()
END
"""
START = "/usr/bin/python3 /root/ringrift/scripts/p2p_orchestrator.py --node-id $(hostname) --port 8770"
LISTENS = "until ss -ltn | grep -q ':8770 '; do sleep 0.1; done"


class State(NamedTuple):
    """A start state.

    `script` is run on the node as root once it is deployed to. `first` is the release that it gets before:
    `today`'s, an `older` one, or `none`.
    """

    title: str
    script: str = "true"
    first: str = "today"


VOTERS = {
    "nebius-preview-1": State("converged voter"),
    "hetzner-preview-2": State("converged voter"),
    "vultr-preview-3": State(
        "voter with a changed node.conf",
        "sed -i 's/^P2P_PORT=.*/P2P_PORT=8770 # mine/' /etc/ringrift/node.conf",
    ),
}
OTHERS = {
    "vast-preview-blank": State("blank", first="none"),
    "vast-preview-converged": State("converged"),
    "vast-preview-conf": State("changed node.conf", "echo 'P2P_CLUSTER=other' >> /etc/ringrift/node.conf"),
    "vast-preview-unit": State("edited unit", f"sed -i 's/^Description=.*/Description=Mine/' {UNIT}"),
    "vast-preview-package": State(
        "package missing in the venv", f"rm -r {SITE}/psutil {SITE}/psutil-*.dist-info"
    ),
    "runpod-preview-stopped": State("stopped service", "systemctl stop p2p_orchestrator"),
    "runpod-preview-older": State("older release", first="older"),
    "vast-preview-legacy": State(
        "foreign ringrift-p2p.service",
        f"""{BEFORE}
        printf '[Service]\\nExecStart=%s\\n[Install]\\nWantedBy=multi-user.target\\n' "{START}" \\
            > /etc/systemd/system/ringrift-p2p.service
        systemctl enable --quiet --now ringrift-p2p
        {LISTENS}""",
        first="none",
    ),
    "runpod-preview-manual": State(
        "manual nohup orchestrator",
        f"{BEFORE} nohup setsid {START} >/tmp/p2p.log 2>&1 & {LISTENS}",
        first="none",
    ),
}
START_STATES = VOTERS | OTHERS
# Votes in the end.
JOINS = "runpod-preview-older"
