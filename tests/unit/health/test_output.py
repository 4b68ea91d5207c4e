"""What is made of the report: the table, the files, the schema, the history."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # ships no type information
import pytest

from roles.p2p_health.report.build import report
from roles.p2p_health.report.command import pieces
from roles.p2p_health.report.fleet import gather
from roles.p2p_health.report.markdown import TITLES
from roles.p2p_health.report.model import STATES, Host, Report
from roles.p2p_health.report.terminal import WIDTH, pasted, table
from roles.p2p_health.report.write import write
from tests.unit.health.fleet_of_five import (
    NOW,
    OTHERS,
    VOTERS,
    answers,
    down,
    fleet,
    probe,
    unreachable,
)
from tests.unit.health.test_states import CASES

SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "health.schema.json").read_text())
HOSTILE = '<script>alert("x")</script> | `rm` \n# title'


def _all_states() -> tuple[dict[str, Any], Any]:
    """Return a fleet that has a node in every state, with names and commands as long as they get."""
    hosts = dict(fleet().hosts)
    given = answers()
    for at, case in enumerate(CASES):
        name = f"vast-{28_940_000 + at}-with-a-name-that-goes-on"
        words = "-o UserKnownHostsFile=~/.ssh/p2p_known_hosts -i ~/.ssh/id_cluster -p 20101"
        ssh = f"ssh {words} root@198.51.100.{at}"
        hosts[name] = Host(name=name, provider="vast", ssh=ssh)
        given[name] = CASES[case][1]
    return given, replace(fleet(), hosts=hosts, total=len(hosts) + 3, left_out={"offline": 3})


@pytest.fixture
def everything() -> Report:
    return report(*_all_states())


def test_the_table_fits(everything: Report) -> None:
    assert max(map(len, table(everything))) <= WIDTH == 100


def test_broken_nodes_come_first(everything: Report) -> None:
    order = [STATES.index(node["state"]) for node in everything["nodes"]]
    assert order == sorted(order)
    assert everything["nodes"][-1]["state"] == "ok"


@pytest.mark.parametrize("ssh", ["ssh", "scripts/node-ssh"])
def test_a_command_that_is_broken_over_lines_is_the_same_command(ssh: str) -> None:
    command = (
        f"{ssh} -o A=b -i ~/.ssh/key root@host 'sudo journalctl -u p2p_orchestrator -n 50 --no-pager' && " * 3
        + "true"
    )
    lines = pasted(command, 6)
    assert len(lines) > 3
    assert all(line.endswith(" \\") for line in lines[:-1])
    assert "journalctl" in pieces(command), "the words for the node's shell may be broken too"
    joined = "\n".join(lines).replace("\\\n", "")
    assert [word.split() for word in shlex.split(joined)] == [word.split() for word in shlex.split(command)]


def test_the_verdict_is_the_last_line() -> None:
    assert table(report(answers(), fleet()))[-1].startswith("HEALTHY: hetzner-cpu1 leads in term 7")


def test_only_states_and_verdicts_are_coloured() -> None:
    painted: list[tuple[str, str]] = []

    def paint(text: str, colour: str) -> str:
        painted.append((text, colour))
        return text

    table(report(answers() | {OTHERS[0]: unreachable()}, fleet()), paint)
    assert ("unreachable", "red") in painted
    assert ("ok", "green") in painted


@pytest.mark.parametrize("given", [answers(), {name: unreachable() for name in fleet().hosts}])
def test_the_schema_holds(given: dict[str, Any], tmp_path: Path) -> None:
    for _ in range(2):  # the second has changes
        made = report(given, fleet())
        write(made, fleet(), tmp_path, 5)
        jsonschema.validate(json.loads((tmp_path / "health.json").read_text()), SCHEMA)


def test_the_schema_holds_for_every_state(everything: Report) -> None:
    jsonschema.validate(json.loads(json.dumps(everything)), SCHEMA)
    assert SCHEMA["$defs"]["state"]["enum"] == list(STATES)
    assert {*TITLES, "ok"} == set(STATES)


def test_what_nodes_say_cannot_become_markup(tmp_path: Path) -> None:
    given = answers() | {OTHERS[0]: {"failed": True, "msg": HOSTILE}}
    write(report(given, fleet()), fleet(), tmp_path, 0)
    assert "<script>alert" not in (tmp_path / "health.html").read_text()
    markdown = (tmp_path / "health.md").read_text()
    assert "<script>" not in markdown
    assert "\n# title" not in markdown
    for line in (tmp_path / "health.prom").read_text().splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) \w+ .+|p2p_health_\w+\{(\w+=\"[^\"]*\",?)+\} -?\d+", line), line


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    write(report(*_all_states()), _all_states()[1], tmp_path, 0)
    page = (tmp_path / "health.html").read_text()
    assert not re.search(r"""(src|href)=["'](?!data:)|url\(|@import|https?://(?!192\.0\.2)""", page)


def test_the_metrics_tell_the_verdict(tmp_path: Path) -> None:
    write(report(answers() | {OTHERS[0]: unreachable()}, fleet()), fleet(), tmp_path, 0)
    lines = (tmp_path / "health.prom").read_text().splitlines()
    assert 'p2p_health_verdict{cluster="p2p",verdict="degraded"} 1' in lines
    assert 'p2p_health_verdict{cluster="p2p",verdict="healthy"} 0' in lines
    assert 'p2p_health_state_nodes{cluster="p2p",state="unreachable"} 1' in lines
    assert 'p2p_health_voters_tolerated{cluster="p2p"} 2' in lines


def test_the_document_has_the_old_reports_sections(tmp_path: Path) -> None:
    write(report(answers() | {OTHERS[0]: down(OTHERS[0])}, fleet()), fleet(), tmp_path, 0)
    text = (tmp_path / "health.md").read_text()
    assert re.findall(r"^##+ (.*)$", text, re.MULTILINE) == [
        "Executive Summary",
        "Current Voter Configuration",
        "Cluster Node Summary",
        "By Provider",
        "By Node",
        "Known Issues (2025-12-27)",
        "Deployment Commands",
        "Health Check Endpoints",
        "Configuration Reference",
        "Seed Peers (from voters)",
        "Environment Variables",
        "Report Provenance",
    ]
    assert all(f"{url}" in text for url in fleet().seeds)


def test_the_history_tells_what_changed(tmp_path: Path) -> None:
    write(report(answers(), fleet()), fleet(), tmp_path, 2)
    later = fleet(asked=NOW + 60)
    made = report(answers() | {OTHERS[0]: unreachable()}, later)
    write(made, later, tmp_path, 2)
    assert made["changes"] == {
        "since": "2025-12-27T01:46:40Z",
        "verdict": ["healthy", "degraded"],
        "leader": None,
        "nodes": [{"node_id": OTHERS[0], "before": "ok", "now": "unreachable"}],
    }


def test_a_part_says_nothing_about_the_rest(tmp_path: Path) -> None:
    write(report(answers(), fleet()), fleet(), tmp_path, 5)
    part = fleet(hosts={OTHERS[0]: fleet().hosts[OTHERS[0]]}, asked=NOW + 60)
    made = report({OTHERS[0]: probe(OTHERS[0])}, part)
    write(made, part, tmp_path, 5)
    assert made["changes"] is not None
    assert made["changes"]["nodes"] == []
    whole = report(answers(), fleet(asked=NOW + 120))
    write(whole, fleet(asked=NOW + 120), tmp_path, 5)
    assert whole["changes"] is not None
    assert whole["changes"]["since"] == "2025-12-27T01:46:40Z"


def test_the_history_has_an_end_and_survives_rubbish(tmp_path: Path) -> None:
    for minute in range(5):
        at = fleet(asked=NOW + 60 * minute)
        write(report(answers(), at), at, tmp_path, 3)
    kept = sorted(path.name for path in (tmp_path / "history").iterdir())
    assert len(kept) == 3
    (tmp_path / "history" / "health-29990101T000000Z.json").write_text('{"cluster": []}')
    made = report(answers(), fleet())
    write(made, fleet(), tmp_path, 3)
    assert made["changes"] is not None


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    write(report(answers(), fleet()), fleet(), tmp_path, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "health.html",
        "health.json",
        "health.md",
        "health.prom",
    ]


def test_the_fleet_is_read_from_host_variables() -> None:
    shared = {"p2p_voters": VOTERS, "p2p_fleet_file": "/home/me/fleet.yaml", "p2p_seeds": ["http://a:8770"]}
    node = {
        "ansible_host": "192.0.2.1",
        "ansible_port": 2201,
        "ansible_user": "root",
        "ansible_ssh_private_key_file": "~/.ssh/id",
        "distributed_host": {"role": "gpu", "gpu": "L40S", "gpu_vram_gb": 48, "is_ephemeral": True},
        "p2p_provider": "vast",
        "p2p_nat_blocked": True,
    }
    hostvars: dict[str, dict[str, Any]] = {
        "vast-1": shared | node,
        "vast-2": shared | node,
        "off": shared,
    }
    groups = {"p2p": ["vast-1", "vast-2"], "status_offline": ["off"], "status_ready": ["vast-1", "vast-2"]}
    settings = {
        "started": 1.0,
        "asked": 2.0,
        "here": "/home/me",
        "ssh_args": "-o 'UserKnownHostsFile=\"/home/me/known\"'",
    }
    found, made = gather({"vast-1": {"probe": {}}, "local-1": {}}, hostvars, groups, settings)
    assert list(found) == ["vast-1"]
    assert (made.total, made.left_out, made.file) == (2, {"offline": 1}, "fleet.yaml")
    host = made.hosts["vast-1"]
    assert host.ssh == "ssh -o UserKnownHostsFile=known -i ~/.ssh/id -p 2201 root@192.0.2.1"
    assert host.forget_key == "ssh-keygen -f known -R '[192.0.2.1]:2201'"
    assert (host.hardware, host.traits) == ("L40S 48GB", ("NAT-blocked", "ephemeral"))
    assert made.deploy == "ansible-playbook -i fleet.yaml deploy.yml"


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("-o 'ProxyCommand=ssh -o '\\''IdentityFile=a b'\\'' -W '\\''[%h]:%p'\\'' -- jump'",
         "ProxyCommand=ssh -o 'IdentityFile=a b' -W '[%h]:%p' -- jump"),
        ("-oProxyCommand='nc %h %p'", "ProxyCommand=nc %h %p"),
        ("-o ProxyJump=me@jump", "ProxyJump=me@jump"),
        ("-J me@jump", "ProxyJump=me@jump"),
    ],
)  # fmt: skip
def test_a_remedy_goes_through_the_jump_host(words: str, option: str) -> None:
    node = {"ansible_host": "10.0.0.5", "ansible_ssh_common_args": words}
    made = gather({"behind": {}}, {"behind": node}, {"p2p": ["behind"]}, {"started": 1.0, "asked": 2.0})[1]
    assert shlex.split(made.hosts["behind"].ssh) == ["ssh", "-o", option, "10.0.0.5"]


@pytest.mark.parametrize(
    ("executable", "word"),
    [("/home/me/p2p/scripts/node-ssh", "scripts/node-ssh"), ("/opt/my ssh", "'/opt/my ssh'"), ("", "ssh")],
)
def test_a_remedy_logs_in_as_ansible_does(executable: str, word: str) -> None:
    node = {"ansible_host": "10.0.0.5", "ansible_ssh_executable": executable}
    settings = {"started": 1.0, "asked": 2.0, "here": "/home/me/p2p"}
    made = gather({"there": {}}, {"there": node}, {"p2p": ["there"]}, settings)[1]
    assert made.hosts["there"].ssh == f"{word} 10.0.0.5"
