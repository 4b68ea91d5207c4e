"""What a node's files say, rendered by Ansible from a fleet file: the forms of ringrift_path, and a proxy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from p2p_orchestrator.settings import LIVE_ON_NON_VOTERS, LIVE_SETTINGS, parse

PROJECT = Path(__file__).parents[3]
FORMS = {
    "null": "~/ringrift",
    "~/x": "~/x",
    "~/x/ai-service": "~/x",
    "~/x/ai-service/": "~/x",
    "/srv/data/x/": "/srv/data/x",
    "/srv/data/x/ai-service": "/srv/data/x",
}
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.import_tasks: "{{ p2p_project_dir }}/playbooks/tasks/settings.yml"
    - ansible.builtin.copy:
        dest: "{{ out }}/{{ inventory_hostname }}.json"
        content: >-
          {{ {'unit': p2p_orchestrator_service_spec.unit, 'conf': __conf.content, 'live': __conf.live_lines}
             | to_json }}
      vars:
        __conf: "{{ p2p_orchestrator_service_spec.files | first }}"
"""


@pytest.fixture(scope="module", params=["bundled", "checkout"])
def rendered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return `source`, and by host the text of its unit and of its node.conf."""
    folder = tmp_path_factory.mktemp("files")
    lines = [
        f"  aws-{place}: {{ssh_host: 192.0.2.{place}, ssh_user: ubuntu, status: ready, p2p_enabled: true,"
        f" socks5_port: 1055, ringrift_path: {form}}}"
        for place, form in enumerate(FORMS, start=1)
    ]
    lines.append("  aws-9: {ssh_host: 192.0.2.9, status: ready, p2p_enabled: true}")
    fleet = folder / "distributed_hosts.yaml"
    fleet.write_text("hosts:\n" + "\n".join(lines) + "\np2p_voters: [aws-9]\n")
    playbook = PROJECT / "playbooks" / "group_vars" / "all.yml"
    (folder / "play.yml").write_text(PLAY)
    settings = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "ansible_become": False,
        "p2p_identity_enabled": False,
        "p2p_project_dir": str(PROJECT),
        "p2p_orchestrator_source": request.param,
        "out": str(folder),
    }
    words = ["-i", str(fleet), "-e", f"@{playbook}", "-e", json.dumps(settings), str(folder / "play.yml")]
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), *words],
        cwd=PROJECT,
        env=dict(os.environ, ANSIBLE_CONFIG=str(PROJECT / "ansible.cfg")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {path.stem: json.loads(path.read_text()) for path in folder.glob("aws-*.json")}
    return {"source": request.param, **found}


@pytest.mark.parametrize(("place", "form"), list(enumerate(FORMS, start=1)))
def test_each_form_of_ringrift_path_arrives(rendered: dict[str, Any], place: int, form: str) -> None:
    files = rendered[f"aws-{place}"]
    # A service has no home of its own: the one that is meant is that of who logs in.
    path = FORMS[form].replace("~", "~ubuntu", 1)
    assert f'RINGRIFT_PATH="{path}"\n' in files["conf"]
    if rendered["source"] == "checkout":
        assert f"'cd {path}/ai-service && " in files["unit"]
        assert f"--ringrift-path {path}'" in files["unit"]


def test_a_proxy_is_told_to_the_program_in_its_own_words(rendered: dict[str, Any]) -> None:
    name = "P2P_SOCKS_PROXY" if rendered["source"] == "bundled" else "RINGRIFT_SOCKS_PROXY"
    assert f"{name}=socks5://127.0.0.1:1055\n" in rendered["aws-1"]["conf"]
    assert "SOCKS" not in rendered["aws-9"]["conf"]


@pytest.mark.parametrize(("name", "votes"), [("aws-1", False), ("aws-9", True)])
def test_the_lines_that_restart_nothing_are_those_that_the_program_takes_up(
    rendered: dict[str, Any], name: str, votes: bool
) -> None:
    live, conf = rendered[name]["live"], parse(rendered[name]["conf"])
    if rendered["source"] == "checkout":
        # The original program reads its settings once.
        assert live == []
        assert "P2P_SETTINGS_FILE" not in conf
        return
    assert sorted(live) == sorted(LIVE_SETTINGS + (() if votes else LIVE_ON_NON_VOTERS))
    assert conf["P2P_SETTINGS_FILE"] == "/etc/ringrift/node.conf"
