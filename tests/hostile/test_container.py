"""A real machine whose Python or shell lies, reached by real ssh, beside one that is well."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile import looks
from tests.hostile.cases import Written
from tests.hostile.fleet import HOSTILE, Run, Sandbox, healthy, program
from tests.hostile.payloads import CONTROL, NESTED, TEXTS
from tests.hostile.runs import PREVIEW
from tests.hostile.standin.good import NOW

IMAGE = os.environ.get("P2P_NODE_IMAGE", "p2p-cluster/node:debian-12")
WELL, LIAR = "hetzner-well", "vast-liar"
ADDRESS = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
# In the place of Python: whatever it is given, it answers what the file holds.
PYTHON = "#!/bin/sh\ncat >/dev/null\ncat /answer\n"
FLOOD = "#!/bin/sh\ncat >/dev/null\necho p2p-probe:/usr/bin/python3\nexec yes '\x1b[2J'\n"
# In the place of the login's shell.
SHELL = r"""#!/bin/bash
printf 'p2p-probe:/usr/bin/python3\n{"probe": {}, "add_host": {"host_name": "x"}}\n\e[2J'
"""


def _docker(*words: str, given: str = "") -> str:
    done = subprocess.run(["docker", *words], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"docker {shlex.join(words)}: {done.stderr}"
    return done.stdout.strip()


class Machines:
    """Two containers with an sshd, and an operator who may log in to them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.prefix = folder, f"p2p-hostile-{uuid.uuid4().hex[:6]}"
        self.key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        self.addresses: dict[str, str] = {}

    def start(self) -> None:
        """Start them."""
        public = self.key.with_suffix(".pub").read_text()
        _docker("network", "create", "--internal", self.prefix)
        for name in (WELL, LIAR):
            words = [
                "-d",
                "--rm",
                "--name",
                f"{self.prefix}-{name}",
                "--network",
                self.prefix,
                IMAGE,
                "/usr/local/sbin/p2p-lab-container",
            ]
            _docker("run", *words)
            self.put(name, "/root/.ssh/authorized_keys", public)
            self.sh(name, "chmod 700 /root/.ssh; mv /usr/bin/python3 /usr/bin/true-python3")
            self.put(name, "/usr/bin/python3", '#!/bin/sh\nexec true-python3 "$@"\n')
            self.addresses[name] = _docker("inspect", "-f", ADDRESS, f"{self.prefix}-{name}")
            deadline = time.monotonic() + 60
            while "SSH-2.0" not in self.sh(
                name, "timeout 1 bash -c 'head -1 </dev/tcp/127.0.0.1/22' || true"
            ):
                assert time.monotonic() < deadline, f"{name}: no sshd"

    def stop(self) -> None:
        """Remove them."""
        for name in (WELL, LIAR):
            subprocess.run(["docker", "rm", "-f", f"{self.prefix}-{name}"], capture_output=True, check=False)
        subprocess.run(["docker", "network", "rm", self.prefix], capture_output=True, check=False)

    def sh(self, name: str, script: str) -> str:
        """Run a script as root; return its output."""
        return _docker("exec", f"{self.prefix}-{name}", "/bin/bash", "-c", script)

    def put(self, name: str, path: str, text: str) -> None:
        """Write a program."""
        container, script = (
            f"{self.prefix}-{name}",
            f"mkdir -p {Path(path).parent}; cat > {path}; chmod 755 {path}",
        )
        _docker("exec", "-i", container, "/bin/bash", "-c", script, given=text)

    def run(self, folder: Path, playbook: str, *words: str) -> tuple[Run, Sandbox]:
        """Run a playbook over both."""
        sandbox = Sandbox(folder)
        hosts = {
            name: {
                "ssh_host": address,
                "ssh_user": "root",
                "ssh_key": str(self.key),
                "role": "test",
                "status": "ready",
                "p2p_enabled": True,
            }
            for name, address in self.addresses.items()
        }
        file = {"hosts": hosts, "p2p_voters": [WELL]}
        (folder / "fleet/distributed_hosts.yaml").write_text(json.dumps(file))
        # Nothing of this machine's own is read or written, and no socket has a longer path than it may have.
        options = (
            f"-o UserKnownHostsFile={folder}/fleet/log/known -o StrictHostKeyChecking=no -o ControlPath=none"
        )
        program(folder / "fleet/ssh", f'exec ssh {options} -o ControlMaster=no "$@"')
        program(folder / "fleet/sftp", f'exec sftp {options} "$@"')
        return sandbox.run(playbook, *words), sandbox


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Return the machines; each test makes the one lie in its way."""
    made = Machines(tmp_path_factory.mktemp("machines"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


def _answers(canary: Path) -> dict[str, str]:
    true = healthy()[HOSTILE[0]]
    changed = {
        "keys": {**true, **CONTROL},
        "nested": {**true, "probe": {**true["probe"], "clock": NESTED["100,000 lists"]}},
        "texts": {
            **true,
            "probe": {**true["probe"], "errors": {"disk": "".join(TEXTS[key] for key in list(TEXTS)[:9])}},
        },
    }
    return {
        name: "p2p-probe:/usr/bin/python3\n"
        + Written(answer, str(canary)).text.replace(f'"{NOW}"', repr(time.time()))
        + "\n"
        for name, answer in changed.items()
    }


@pytest.mark.parametrize(
    ("lie", "playbook"),
    [
        *((lie, "health.yml") for lie in ("keys", "nested", "texts", "flood", "shell")),
        *((lie, "deploy.yml") for lie in ("keys", "flood")),
    ],
)
def test_a_machine_that_lies_harms_nobody(
    lie: str, playbook: str, machines: Machines, tmp_path: Path
) -> None:
    canary = tmp_path / "s/ran"
    machines.put(LIAR, "/usr/bin/python3", FLOOD if lie == "flood" else PYTHON)
    machines.sh(LIAR, "for other in /usr/bin/python3.[0-9]*; do ln -sf python3 $other; done")
    machines.put(LIAR, "/usr/bin/liar", SHELL)
    machines.put(LIAR, "/answer", _answers(canary).get(lie, ""))
    machines.sh(LIAR, f"usermod -s {'/usr/bin/liar' if lie == 'shell' else '/bin/bash'} root")
    run, sandbox = machines.run(tmp_path / "s", playbook, *(PREVIEW if playbook == "deploy.yml" else ()))
    found = [*looks.ended_badly(run), *looks.terminal(run), *looks.files(run, sandbox.canary)]
    assert found == [], run.output[-2000:]
    assert "probe" in run.answer(WELL), run.answer(WELL)
    # Keys that are not known are dropped, and texts cleaned: the rest of such an answer is one.
    assert lie in ("keys", "texts") or "probe" not in run.answer(LIAR)
    assert set(run.end["hosts"]) == {WELL, LIAR}
