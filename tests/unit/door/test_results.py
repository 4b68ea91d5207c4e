"""The door for what modules return: the keys of their schemas, or why they failed."""

from __future__ import annotations

import base64
import hashlib
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleActionFail
from ansible_collections.p2p.cluster.plugins.plugin_utils.door import read
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.fetch import CHUNK, fetch
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.results import SCHEMAS

from action_plugins.p2p_maintenance import held_by

PROJECT = Path(__file__).parents[3]
NEVER: dict[str, Any] = {
    "add_host": {"host_name": "v1", "host_vars": {"ansible_ssh_common_args": "-o ProxyCommand=touch"}},
    "add_group": "voters",
    "ansible_facts": {"ansible_ssh_common_args": "-o ProxyCommand=touch", "p2p_plan": {}},
    "_ansible_delegated_vars": {"ansible_delegated_host": "v1"},
    "_ansible_no_log": False,
    "exception": "x",
    "unreachable": True,
    "skipped": True,
    "results": [1],
    "stdout": "x",
    "deprecations": ["x"],
}
RETURNED: dict[str, dict[str, Any]] = {
    "p2p_etcd_care": {"db_size": {"before": 1, "after": None}},
    "p2p_etcd_archive": {
        "archive": {"arch": "amd64", "sha256": "0" * 64, "directory": "/opt/etcd/3.6.14", "there": True}
    },
    "p2p_etcd_salvage": {"salvaged": {}},
    "p2p_etcd_snapshot": {
        "snapshot": {"path": None, "sha256": None, "revision": None, "keys": None, "size": None}
    },
    "p2p_member": {"members": []},
}


def test_every_module_that_runs_on_a_node_stands_behind_the_door() -> None:
    on_nodes = {path.stem for path in (PROJECT / "library").glob("p2p_*.py")} - {
        "p2p_certificate",
        "p2p_probe",
    }
    assert set(SCHEMAS) == on_nodes
    for name in [*on_nodes, "p2p_probe"]:
        text = (PROJECT / "action_plugins" / f"{name}.py").read_text()
        assert f'MODULE = "{name}"' in text


@pytest.mark.parametrize("module", sorted(SCHEMAS))
def test_what_ansible_would_obey_goes_no_further(module: str) -> None:
    found = read.result(module, NEVER | {"changed": True} | RETURNED.get(module, {}))
    assert not found.get("failed"), found
    assert not found.keys() & NEVER.keys()
    assert found["changed"] is True


@pytest.mark.parametrize("module", sorted(SCHEMAS))
def test_what_is_documented_is_what_goes_on(module: str) -> None:
    text = (PROJECT / "library" / f"{module}.py").read_text()
    documented = set(yaml.safe_load(text.split('RETURN = r"""')[1].split('"""')[0]))
    fields = set(SCHEMAS[module].__struct_fields__) - {"changed", "diff", "warnings", "actions"}
    assert fields <= documented
    assert documented <= fields | {"actions"}


@pytest.mark.parametrize(
    ("module", "returned", "where"),
    [
        ("p2p_service", {"actions": "restart"}, "p2p_service.actions"),
        ("p2p_service", {"changed": "yes"}, "p2p_service.changed"),
        ("p2p_member", {"members": [], "initial_cluster": "a=http://x\nEVIL=1"}, "initial_cluster"),
        ("p2p_member", {"members": [{"id": "x"}]}, "p2p_member.members[0].id"),
        ("p2p_maintenance", {"record": {"id": "'; touch x"}}, "p2p_maintenance.record.id"),
        ("p2p_etcd_archive", {"archive": {"arch": "../x"}}, "p2p_etcd_archive.archive"),
        ("p2p_release", {"diff": [{"before": 5}]}, "p2p_release.diff"),
        ("p2p_etcd_salvage", {"salvaged": {"epoch": 1, "revision": 2}}, "p2p_etcd_salvage.salvaged: without"),
    ],
)
def test_what_does_not_fit_makes_the_answer_untrusted(
    module: str, returned: dict[str, Any], where: str
) -> None:
    found = read.result(module, {"changed": False} | returned)
    assert found["untrusted"] is True
    assert found["failed"] is True
    assert where in found["msg"]
    assert set(found) == {"changed", "failed", "untrusted", "msg"}


def test_warnings_go_on_as_texts() -> None:
    told = SimpleNamespace(event=SimpleNamespace(msg="old\x1b[2J"))
    found = read.result("p2p_release", {"changed": True, "warnings": ["plain", told]})
    assert found["warnings"] == ["plain", "old[2J"]


def test_a_failure_says_why_in_texts_that_are_clean_and_cut() -> None:
    found = read.result("p2p_release", {"failed": True, "msg": "\x1b[2Jno room\n" + "x" * 9000} | NEVER)
    assert found["msg"].startswith("[2Jno room\n")
    assert len(found["msg"]) < 5000
    assert set(found) == {"changed", "failed", "msg"}


def test_a_program_that_answers_something_else_is_no_module() -> None:
    raw = {"failed": True, "msg": "Module result deserialization failed.", "rc": 0}
    assert read.result("p2p_release", raw)["untrusted"] is True
    # One that ended with an error says why itself.
    assert "untrusted" not in read.result("p2p_release", raw | {"rc": 1, "module_stderr": "SyntaxError"})


@pytest.mark.parametrize(
    "path", ["/usr/bin/python3; id", "/usr/bin/../x", "python3", "/a b", "/x\n", 5, None]
)
def test_an_interpreter_that_a_shell_would_read_otherwise_is_not_kept(path: object) -> None:
    assert read.interpreter({"ansible_facts": {"discovered_interpreter_python": path}}) == {}


def test_the_holder_of_the_record_is_told_in_words_that_can_be_pasted() -> None:
    record = {"id": "host-1-2", "who": "a@b", "playbook": "deploy.yml", "since": 5.0, "renewed": 90.0}
    assert held_by(record, 100.0).endswith("add -e p2p_maintenance_break=host-1-2")
    assert "renewed 10 s ago" in held_by(record, 100.0)


def _local(command: str) -> tuple[int, str]:
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 5])
def test_a_file_arrives_as_it_was(tmp_path: Path, size: int) -> None:
    source, target = tmp_path / "it's here; $(x)", tmp_path / "there"
    source.write_bytes(bytes(range(256)) * (size // 256 + 1))
    with source.open("r+b") as handle:
        handle.truncate(size)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    fetch(_local, str(source), target, size=size, sha256=digest)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("not base64!", 3),
        (base64.b64encode(b"x" * (CHUNK + 1)).decode(), CHUNK),
        (base64.b64encode(b"abcd").decode(), 3),
        (base64.b64encode(b"ab").decode(), 3),
        ("", 3),
        ("", 1 << 60),
    ],
)
def test_a_file_that_is_not_what_was_told_leaves_nothing(tmp_path: Path, text: str, size: int) -> None:
    with pytest.raises(AnsibleActionFail):
        fetch(
            lambda _: (0, text),
            "/x",
            tmp_path / "there",
            size=size,
            sha256=hashlib.sha256(b"abc").hexdigest(),
        )
    assert not list(tmp_path.iterdir())


def test_a_link_in_the_place_of_the_target_is_not_written_through(tmp_path: Path) -> None:
    victim, target = tmp_path / "victim", tmp_path / "there"
    victim.write_text("untouched")
    target.symlink_to(victim)
    with pytest.raises(OSError, match=shlex.quote(str(target))[1:5]):
        fetch(lambda _: (0, ""), "/x", target, size=0, sha256=hashlib.sha256(b"").hexdigest())
    assert victim.read_text() == "untouched"
