"""Values of the fleet file reach shells and systemd as the words that they are, whatever is in them."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from supervisor.options import ServerOptions  # type: ignore[import-untyped]  # it has no types

from filter_plugins.p2p_source import checkout_venv
from filter_plugins.p2p_words import shell_path, systemd_word
from module_utils.p2p_supervisor_text import configuration, hook_block, shell_command
from tests.unit.deploy.conftest import PROJECT

NASTY = (
    *(
        "a b",
        "it's",
        'say "x"',
        "$(touch ran)",
        "`touch ran`",
        "$HOME",
        "${HOME}",
        "a;touch ran",
        "a&b",
        "a|b",
    ),
    *("a\\b", "\\$x", "*", "a\tb", "~", "~/x", "-n", "#x", "100%", "%h", "%%", "$$", "{a,b}", "(x)", ""),
)


@pytest.mark.parametrize("text", [*NASTY, "a\nb"])
def test_a_shell_takes_a_path_as_one_word(text: str, tmp_path: Path) -> None:
    for path, meant in ((f"/x/{text}", f"/x/{text}"), (f"~/{text}", f"{tmp_path}/{text}")):
        done = subprocess.run(
            ["/bin/sh", "-c", f"printf '<%s>' {shell_path(path)}"],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env={"HOME": str(tmp_path)},
        )
        assert done.stdout == f"<{meant}>"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("~", "~"),
        ("~me", "~me"),
        ("~me/ringrift", "~me/ringrift"),
        ("~me/ring rift", "~me/'ring rift'"),
        ("~$(id)/x", "'~$(id)/x'"),
        ("~a b/x", "'~a b/x'"),
        ("/srv/x", "/srv/x"),
    ],
)
def test_a_home_stays_what_it_is_and_plain_paths_as_they_were(path: str, word: str) -> None:
    assert shell_path(path) == word


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_takes_a_text_as_one_word(tmp_path: Path) -> None:
    # It names the program that a command would start, after it has read the quotes; `$` it refuses in there.
    texts = [
        f"/no/{text}/{place}" for place, text in enumerate(NASTY) if "$" not in text and "\t" not in text
    ]
    for place, text in enumerate(texts):
        (tmp_path / f"t{place}.service").write_text(f"[Service]\nExecStart={systemd_word(text)}\n")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(tmp_path.iterdir())],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    pattern = r"(?:Command (?=.* is not)|special characters: )(/no/.*?)(?: is not executable.*)?$"
    told = re.findall(pattern, done.stderr, re.MULTILINE)
    # systemd itself leaves out what a path does not need.
    assert sorted(told) == sorted(os.path.normpath(text) for text in texts)


def test_a_dollar_of_a_word_is_no_variable_of_systemds_and_lines_are_none() -> None:
    assert systemd_word("cd ~me/x && echo $x") == "'cd ~me/x && echo $$x'"
    assert systemd_word("it's $x") == '"it\'s $$x"'
    for text in ("a\nb", "a\x1bb", "a\x00"):
        with pytest.raises(ValueError, match="cannot be a word of a unit"):
            systemd_word(text)


PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.import_tasks: "{{ p2p_project_dir }}/playbooks/tasks/settings.yml"
    - ansible.builtin.copy:
        dest: "{{ out }}/{{ inventory_hostname }}.json"
        content: >-
          {{ {'unit': p2p_orchestrator_service_spec.unit, 'program': p2p_orchestrator_service_spec.program,
              'conf': (p2p_orchestrator_service_spec.files | first).content} | to_json }}
"""
# Each is a path that the fleet file may name; the last part of each is the checkout.
PATHS = ("plain", "ring rift", "a;touch ran", "a&touch ran", "(x)|*", "#x", "ü", "{a,b}")
RECORDER = """#!/bin/sh
for word in "$@"; do printf '%s\\n' "$word"; done > {out}
printf 'cwd %s\\n' "$(pwd)" >> {out}
printf 'conf %s\\n' "$RINGRIFT_PATH" >> {out}
"""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the texts of a service for each of `PATHS`, and in `folder` where their checkouts are."""
    folder = tmp_path_factory.mktemp("words")
    hosts: dict[str, Any] = {}
    for place, name in enumerate(PATHS, start=1):
        checkout = folder / "checkouts" / name
        binaries = checkout / "en v/bin"
        (checkout / "ai-service").mkdir(parents=True)
        binaries.mkdir(parents=True)
        (binaries / "python").write_text(RECORDER.format(out=folder / f"{place}.txt"))
        (binaries / "python").chmod(0o755)
        hosts[f"aws-{place}"] = {
            "ssh_host": f"192.0.2.{place}",
            "ssh_user": "root",
            "status": "ready",
            "p2p_enabled": True,
            "ringrift_path": f"{checkout}/ai-service",
            "venv_activate": f'source "{binaries}/activate"',
        }
    fleet = folder / "distributed_hosts.yaml"
    fleet.write_text(json.dumps({"hosts": hosts, "p2p_voters": ["aws-1"]}))
    (folder / "play.yml").write_text(PLAY)
    settings = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "ansible_become": False,
        "p2p_identity_enabled": False,
        "p2p_project_dir": str(PROJECT),
        "p2p_orchestrator_source": "checkout",
        "out": str(folder),
    }
    words = ["-e", f"@{PROJECT}/playbooks/group_vars/all.yml", "-e", json.dumps(settings), "play.yml"]
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(fleet), *words],
        cwd=folder,
        env=dict(os.environ, ANSIBLE_CONFIG=str(PROJECT / "ansible.cfg")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    texts = {path.stem: json.loads(path.read_text()) for path in folder.glob("aws-*.json")}
    return {"folder": folder, **texts}


def unquoted(unit: str) -> str:
    """Return the command that systemd hands to the shell."""
    word = unit.partition("ExecStart=/bin/sh -c ")[2].partition("\n")[0]
    text = word[1:-1].replace("%%", "%").replace("$$", "$")
    return text.replace('\\"', '"').replace("\\\\", "\\") if word[0] == '"' else text


@pytest.mark.parametrize(("place", "name"), list(enumerate(PATHS, start=1)))
@pytest.mark.parametrize("manager", ["systemd", "other"])
def test_the_program_gets_the_path_that_the_file_names(
    rendered: dict[str, Any], place: int, name: str, manager: str
) -> None:
    folder, texts = rendered["folder"], rendered[f"aws-{place}"]
    conf, told = folder / f"{place}.conf", folder / f"{place}.txt"
    conf.write_text(texts["conf"])
    program = {**texts["program"], "environment_file": str(conf)}
    command = shell_command({**program, "user": ""}, as_user=False)
    if manager == "systemd":
        command = f"set -a; . {conf}; {unquoted(texts['unit'])}"
    told.unlink(missing_ok=True)
    subprocess.run(["/bin/sh", "-c", command], check=True, cwd=folder)
    path = folder / "checkouts" / name
    lines = told.read_text().splitlines()
    assert lines[0] == "scripts/p2p_orchestrator.py"
    assert lines[lines.index("--ringrift-path") + 1] == str(path)
    assert lines[-2:] == [f"cwd {path}/ai-service", f"conf {path}"]
    assert not (folder / "ran").exists()
    assert not list(folder.glob("checkouts/*/ai-service/ran"))


@pytest.mark.parametrize(("place", "name"), list(enumerate(PATHS, start=1)))
def test_supervisord_reads_the_same_command(rendered: dict[str, Any], place: int, name: str) -> None:
    folder, program = rendered["folder"], rendered[f"aws-{place}"]["program"]
    path = folder / f"{place}.ini"
    path.write_text(configuration("x", {**program, "user": None}, str(folder), root=True))
    options = ServerOptions()
    options.realize(["-c", str(path)])
    (group,) = options.process_group_configs
    command = group.process_configs[0].command
    assert shlex.split(command) == ["/bin/sh", "-c", shell_command({**program, "user": None}, as_user=True)]
    assert name in command


def test_cron_runs_what_a_shell_would() -> None:
    words = ["/opt/100%/bin/supervisord", "-c", "/x y.conf"]
    script, table = hook_block("x", words), hook_block("x", words, "@reboot ")
    assert "\n/opt/100%/bin/supervisord -c '/x y.conf' || true\n" in script
    assert "\n@reboot /opt/100\\%/bin/supervisord -c '/x y.conf' || true\n" in table


@pytest.mark.parametrize(
    ("activate", "venv"),
    [
        ('source "/opt/my venv/bin/activate"', "/opt/my venv"),
        (". '/opt/my venv/bin/activate' && x", "/opt/my venv"),
        ("source $(touch x)/bin/activate", "~me/a/venv"),
        ('source "/opt/a\nb/bin/activate"', "~me/a/venv"),
        ("source /opt/a\x1b[2J/bin/activate", "~me/a/venv"),
    ],
)
def test_the_environments_folder_may_have_a_space(activate: str, venv: str) -> None:
    assert checkout_venv(activate, "~me/a", "me") == venv
