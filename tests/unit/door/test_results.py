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
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.builtin import SCHEMAS as BUILTIN
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.builtin import shaped
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
        ("p2p_epoch", {"epoch": 1 << 60}, "p2p_epoch.epoch"),
        ("p2p_etcd_archive", {"archive": {"arch": "../x"}}, "p2p_etcd_archive.archive"),
        ("p2p_release", {"diff": [{"before": 5}]}, "p2p_release.diff"),
        ("p2p_etcd_salvage", {"salvaged": {"epoch": 1, "revision": 2}}, "p2p_etcd_salvage.salvaged: without"),
        # Its terms would be no JSON numbers, and every answer that tells one would be refused.
        ("p2p_etcd_salvage", {"salvaged": {"epoch": 10**10}}, "p2p_etcd_salvage.salvaged.epoch"),
        ("p2p_etcd_salvage", {"salvaged": {"raised": 1 << 62}}, "p2p_etcd_salvage.salvaged.raised"),
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


# Playbooks that start and remove local containers, and ask no node.
LOCAL = {"lab.yml", "lab_down.yml"}
# Actions that work on the controller alone.
CONTROLLER = {"add_host", "assert", "debug", "fail", "import_role", "import_tasks", "include_role"}
CONTROLLER |= {"import_playbook", "include_tasks", "include_vars", "meta", "set_fact", "pause", "group_by"}


def _tasks(found: object) -> list[dict[str, Any]]:
    """Return the tasks of a parsed YAML file, those in blocks too."""
    if isinstance(found, list):
        return [task for one in found for task in _tasks(one)]
    if not isinstance(found, dict):
        return []
    inner = [key for key in ("tasks", "block", "rescue", "always", "pre_tasks", "post_tasks") if key in found]
    return [task for key in inner for task in _tasks(found[key])] or [found]


def test_no_module_of_ansible_runs_on_a_node_beside_the_door() -> None:
    files = [
        *PROJECT.glob("*.yml"),
        *PROJECT.glob("playbooks/**/*.yml"),
        *PROJECT.glob("roles/*/tasks/*.yml"),
        *PROJECT.glob("roles/*/handlers/*.yml"),
    ]
    beside, seen = [], 0
    for file in files:
        if file.name in LOCAL:
            continue
        for task in _tasks(yaml.safe_load(file.read_text())):
            named = [key for key in task if key.startswith("ansible.")]
            seen += len(named)
            beside += [f"{file}: {key}" for key in named if key.rpartition(".")[2] not in CONTROLLER]
    assert seen > 50
    assert beside == []


@pytest.mark.parametrize("module", sorted(BUILTIN))
def test_what_ansible_would_obey_of_its_own_modules_goes_no_further(module: str) -> None:
    obeyed = NEVER | {"ansible_stats": 7, "verdict": "ok", "actions": [{}], "exception": ["x"]}
    fits = {"slurp": {"content": "eA=="}, "command": {"stdout": "etcd Version: 3\nGit"}}.get(module, {})
    found = read.result(module, obeyed | {"changed": True} | fits, BUILTIN[module])
    assert not found.get("failed"), found
    assert set(found) <= {"changed", "stdout", "content", "entry"}
    assert found["changed"] is True


def test_what_is_used_of_ansibles_own_modules_goes_on() -> None:
    facts = {"ansible_facts": {"getent_passwd": {"p2p": ["x", "998", "998", "", "/opt/p2p", "/bin/sh"]}}}
    asked = {"database": "passwd", "key": "p2p"}
    found = read.result("getent", shaped("getent", facts, asked), BUILTIN["getent"])
    assert found["entry"][4] == "/opt/p2p"
    none = {"ansible_facts": {"getent_passwd": {"p2p": None}}}
    assert read.result("getent", shaped("getent", none, asked), BUILTIN["getent"])["entry"] is None
    gone = {"diff": {"before": {"path": "/etc", "state": "directory"}, "after": {"state": "absent"}}}
    found = read.result("file", shaped("file", gone, {"path": "/a"}), BUILTIN["file"])
    assert found["diff"] == {
        "before": "state: directory\n",
        "after": "state: absent\n",
        "before_header": "/a",
        "after_header": "/a",
    }
    # As the action `copy` answers where the file has its content already.
    same = {"diff": {"before": {"path": "/a", "mode": "0600"}, "after": {"path": "/a", "mode": "0644"}}}
    for diff in (same["diff"], [same["diff"]]):
        found = read.result("copy", shaped("copy", {"diff": diff}, {"dest": "/a"}), BUILTIN["copy"])
        one = found["diff"][0] if isinstance(diff, list) else found["diff"]
        assert (one["before"], one["after"], one["before_header"]) == ("mode: 0600\n", "mode: 0644\n", "/a")
    failed = {"failed": True, "msg": "non-zero return code", "stderr": "no such library"}
    found = read.result("command", shaped("command", failed, {}), BUILTIN["command"])
    assert found["msg"] == "non-zero return code: no such library"
    long = base64.b64encode(b"x" * 9000).decode()
    assert read.result("slurp", {"content": long}, BUILTIN["slurp"])["content"] == long


@pytest.mark.parametrize("diff", [{"before": "a\n" * 9000, "after": "b\n"}, [{"before": "a\n" * 30}] * 400])
def test_no_more_of_a_difference_goes_on_than_can_be_compared(diff: Any) -> None:
    found = read.result("p2p_service", {"diff": diff})
    sides = [found["diff"]] if isinstance(found["diff"], dict) else found["diff"]
    assert sum(len(side["before"].splitlines()) for side in sides if "before" in side) < 2500
    assert any("more lines)" in side["before"] for side in sides)


def test_an_answer_of_many_values_is_refused_before_it_takes_memory() -> None:
    with pytest.raises(read.UntrustedError, match="more than 200000 values"):
        read.decoded("[" + "{}," * 300_000 + "{}]")


def test_warnings_are_few() -> None:
    found = read.result("p2p_release", {"warnings": ["renew your CA"] * 400})
    assert len(found["warnings"]) == 11
    assert found["warnings"][-1] == "and 390 more warnings"


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
