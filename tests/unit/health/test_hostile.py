"""What a stranger's node says: text in every format, one word in every command, one vote at most."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from markdown_it import MarkdownIt

from roles.p2p_health.report.build import report
from roles.p2p_health.report.fleet import gather
from roles.p2p_health.report.html import html
from roles.p2p_health.report.markdown import markdown
from roles.p2p_health.report.model import Fleet, Report
from roles.p2p_health.report.prometheus import prometheus
from roles.p2p_health.report.terminal import pasted, table
from roles.p2p_health.report.write import write
from tests.unit.health.fleet_of_five import (
    LEADER,
    NOW,
    OTHERS,
    VOTERS,
    answering,
    fleet,
    probe,
    status,
    store,
    unreachable,
)
from tests.unit.health.fleet_of_five import answers as well
from tests.unit.health.hostile import TEXTS, WORST, answers, everywhere

UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff]")
QUICK = settings(max_examples=25, deadline=None)


class _Page(HTMLParser):
    """The tags of a page with the names of their attributes, and the values that a browser acts on."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.values: dict[str, list[str]] = {}
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        for name, value in attrs:
            self.values.setdefault(f"{tag} {name}", []).append(value or "")

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


@QUICK
@given(text=TEXTS)
@example(text=WORST)
def test_a_page_has_the_same_tags_whatever_nodes_say(text: str) -> None:
    told = _Page(html(everywhere(text)))
    assert told.tags == _Page(html(everywhere("text"))).tags


def test_a_page_runs_what_it_brings_and_nothing_else() -> None:
    first, second = _Page(html(everywhere(WORST))), _Page(html(everywhere(WORST)))
    nonces = {*first.values["script nonce"], *first.values["style nonce"]}
    assert len(nonces) == 1
    nonce = nonces.pop()
    assert len(nonce) >= 22
    assert nonce not in second.values["script nonce"]
    assert first.values["meta content"][-1] == (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )
    names = {name for _, attributes in first.tags for name in attributes}
    assert "style" not in names
    assert [name for name in names if name.startswith("on")] == []
    assert first.values["link href"] == ["data:,"]


@QUICK
@given(text=TEXTS)
@example(text=WORST)
def test_a_document_has_the_same_blocks_whatever_nodes_say(text: str) -> None:
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    about = fleet(cluster="x")
    told = reader.parse(markdown(everywhere(text), about))
    usual = reader.parse(markdown(everywhere("text"), about))
    assert [token.type for token in told] == [token.type for token in usual]
    inside = {child.type for token in told for child in token.children or ()}
    assert inside <= {"text", "code_inline", "strong_open", "strong_close", "softbreak"}


@QUICK
@given(text=TEXTS)
@example(text=WORST)
def test_metrics_and_the_terminal_and_json_hold_no_more_than_text(text: str, tmp_path_factory: Any) -> None:
    made = everywhere(text)
    for line in prometheus({**made, "cluster": {**made["cluster"], "term": 1}}).splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) \w+ .+|p2p_health_\w+\{(\w+="([^"\\]|\\.)*",?)+\} -?\d+', line), (
            line
        )
    for line in table(made):
        assert not UNSEEN.search(line)
        assert "\n" not in line
    # Every line and file is made of what nodes say, too.
    real = report(answers(text), _strange_fleet("root"))
    folder = tmp_path_factory.mktemp("reports")
    write(real, _strange_fleet("root"), folder, 1)
    for name in ("health.json", "health.md", "health.html", "health.prom"):
        assert not UNSEEN.search((folder / name).read_text(encoding="utf-8")), name
    json.loads((folder / "health.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)


def test_an_infinite_number_is_no_report(tmp_path: Path) -> None:
    made: dict[str, Any] = {**everywhere("text")}
    made["changes"] = None
    made["cluster"] = {**made["cluster"], "coverage": {"nodes": 1, "running": 1, "percent": float("nan")}}
    told: Any = made
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(told, fleet(), tmp_path, 0)


# -- commands ---------------------------------------------------------------------------------------

# Stand-ins that write down what they are called with; ssh and sudo go on as the real ones do.
RECORD = 'printf "%s\\037" "${0##*/}" "$@" "\x1e" >>"$RECORD"\n'
STAND_INS = {
    "ssh": 'for last; do :; done\nexec /bin/sh -c "$last"\n',
    "sudo": 'exec "$@"\n',
    "cat": "while read -r line; do :; done\n",
    **dict.fromkeys(
        (
            *(
                "ansible-playbook",
                "apt-get",
                "curl",
                "df",
                "du",
                "id",
                "journalctl",
                "kill",
                "launchctl",
                "mv",
            ),
            *("ps", "sort", "ssh-keygen", "systemctl", "tail", "timedatectl", "touch", "uptime", "who"),
        ),
        "",
    ),
}


def _strange_fleet(text: str) -> Fleet:
    """Return the fleet, whose file and settings put a text wherever a command may hold one."""
    names = list(answers("x"))
    node = {
        "ansible_host": text,
        "ansible_user": text,
        "ansible_port": 2201,
        "ansible_ssh_private_key_file": text,
        "ansible_ssh_args": f"-o UserKnownHostsFile=known -o ProxyCommand={_quoted(text)}",
        "p2p_fleet_file": text,
        "p2p_voters": VOTERS,
        "p2p_seeds": [text],
    }
    known = {
        name: {
            **node,
            "p2p_is_voter": name in VOTERS,
            "p2p_orchestrator_root": text,
            "p2p_orchestrator_source": "checkout",
            **({"ansible_host": "host", "ansible_user": ""} if name == "by-hand" else {}),
            **({"ansible_connection": "local"} if name == "broken" else {}),
            **({"p2p_rootless_dir": text} if name == "mac" else {}),
        }
        for name in names
    }
    given = {"started": NOW - 6, "asked": NOW, "service": text, "etcd_service": "p2p-etcd"}
    return gather({name: {} for name in names}, known, {"p2p": names}, given)[1]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _remedies(made: Report) -> list[str]:
    rows = [item for node in made["nodes"] for item in (node, *node["also"])]
    return [str(item["remedy"]) for item in (*rows, *made["cluster"]["problems"]) if item["remedy"]]


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    for name, then in STAND_INS.items():
        (folder / name).write_text(f"#!/bin/sh\n{RECORD}{then}")
        (folder / name).chmod(0o755)
    (folder / "sh").symlink_to("/bin/sh")
    return folder


def _called(commands: list[str], stand_ins: Path, folder: Path) -> list[list[str]]:
    """Run commands as a person who pastes them and return what was called, with which words."""
    folder.mkdir()
    record = folder.with_suffix(".record")
    record.write_bytes(b"")
    done = subprocess.run(
        ["/bin/sh"],
        input="\n".join(commands).encode(),
        cwd=folder,
        env={
            "PATH": str(stand_ins),
            "RECORD": str(record),
            "HOME": "/home/me",
            "LC_ALL": os.environ.get("LC_ALL", "C"),
        },
        capture_output=True,
        check=False,
    )
    assert done.stderr == b"", done.stderr
    assert list(folder.iterdir()) == []
    # The parts of a pipe run side by side.
    calls = record.read_text(encoding="utf-8").split("\x1e\x1f")[:-1]
    return sorted(
        (call.split("\x1f")[:-1] for call in calls), key=lambda words: (words[0], len(words), words)
    )


def _shape(calls: list[list[str]]) -> list[tuple[str, int]]:
    return sorted((words[0], len([word for word in words if word != "--"])) for words in calls)


def _folders(base: Path) -> Iterator[Path]:
    number = len(list(base.iterdir()))
    while True:
        number += 1
        yield base / f"run{number}"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS.filter(lambda text: text != "--"))
@example(text="'; touch made; : '")
@example(text="-oProxyCommand=touch made")
@example(text="a  b")
@example(text=WORST)
def test_a_remedy_runs_its_own_commands_and_no_other(stand_ins: Path, tmp_path: Path, text: str) -> None:
    folder = _folders(tmp_path)
    usual = _remedies(report(answers("text"), _strange_fleet("text")))
    expected = _called(usual, stand_ins, next(folder))
    assert {name for name, *_ in expected} == {*STAND_INS} - {"touch"}

    remedies = _remedies(report(answers(text), _strange_fleet(text)))
    assert len(remedies) == len(usual)
    assert all("\n" not in remedy for remedy in remedies)
    called = _called(remedies, stand_ins, next(folder))
    # Words that hold the text are one word still; ssh's own `--` stands where a name would be an option.
    assert _shape(called) == _shape(expected)

    broken = [line for remedy in remedies for line in pasted(remedy, 6)]
    assert [words for words in _called(broken, stand_ins, next(folder)) if words[0] != "ssh"] == [
        words for words in called if words[0] != "ssh"
    ]


@pytest.mark.parametrize("manager", ["systemd", "supervisord", "launchd", "'; touch made; '"])
def test_no_command_comes_from_a_node(manager: str) -> None:
    services = answers("MINE")[VOTERS[2]]["probe"]["services"]
    told = probe(
        VOTERS[2], manager=manager, services=services, http=answering(None), processes=[], listener=None
    )
    made = report(well() | {VOTERS[2]: told}, fleet())
    remedy = str(next(node["remedy"] for node in made["nodes"] if node["node_id"] == VOTERS[2]))
    assert "MINE" not in remedy
    expected = {
        "supervisord": "ssh root@192.0.2.12 '/opt/p2p-cluster/current/venv/bin/python -I -m"
        " supervisor.supervisorctl -c"
        " /opt/p2p-cluster/supervisor/p2p_orchestrator.conf status;"
        " tail -n 50 /opt/p2p-cluster/supervisor/p2p_orchestrator.log'",
        "launchd": "ssh root@192.0.2.12 'sudo launchctl print system/org.p2p-cluster.p2p_orchestrator;"
        " sudo tail -n 50 /opt/p2p-cluster/supervisor/p2p_orchestrator.log'",
    }
    usual = "ssh root@192.0.2.12 'sudo journalctl -u p2p_orchestrator -n 50 --no-pager'"
    assert remedy == expected.get(manager, usual)


# -- votes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [None, status(VOTERS[0]), {"role": "leader"}], ids=["nothing", "status", "leader"]
)
def test_a_listener_that_is_not_ours_is_no_orchestrator(body: dict[str, Any] | None) -> None:
    nginx = {"pid": 80, "name": "nginx", "cmdline": "nginx", "owner": "www", "orchestrator": False}
    told = probe(VOTERS[0], listener=nginx, http=answering(body))
    made = report(well() | {VOTERS[0]: told}, fleet())
    node = next(node for node in made["nodes"] if node["node_id"] == VOTERS[0])
    assert (node["state"], node["running"], node["leader_id"]) == ("port_conflict", False, None)
    assert made["cluster"]["voters"]["alive"] == VOTERS[1:]
    assert made["cluster"]["coverage"]["running"] == 6
    assert made["cluster"]["leader_id"] == LEADER


@pytest.mark.parametrize("pid", ["1'; touch made; : '", "80", -1, 0, 1, True])
def test_what_is_no_process_is_not_killed(pid: Any) -> None:
    listener = {"pid": pid, "name": "nginx", "cmdline": "nginx", "owner": "www", "orchestrator": False}
    made = report(well() | {VOTERS[0]: probe(VOTERS[0], listener=listener)}, fleet())
    assert [remedy for remedy in _remedies(made) if "kill" in remedy] == []
    assert made["cluster"]["coverage"]["running"] == 6


def test_a_listener_that_may_not_be_looked_into_is_heard() -> None:
    unknown = {"pid": None, "name": None, "cmdline": None, "owner": "p2p", "orchestrator": None}
    made = report(well() | {VOTERS[0]: probe(VOTERS[0], listener=unknown)}, fleet())
    assert made["cluster"]["verdict"] == "healthy"


def test_an_answer_that_is_not_believed_counts_for_nothing() -> None:
    told = {"failed": True, "untrusted": True, "msg": "probe.clock.unix: Expected `float`, got `str`"}
    made = report(well() | {VOTERS[0]: told}, fleet())
    assert made["cluster"]["verdict"] == "degraded"
    assert made["cluster"]["by_state"] == {"ok": 6, "untrusted_answer": 1}
    assert made["cluster"]["coverage"]["running"] == 6


def test_a_node_cannot_ask_for_its_host_key_to_be_forgotten() -> None:
    told = {"failed": True, "msg": "REMOTE HOST IDENTIFICATION HAS CHANGED! Host key verification failed."}
    made = report(well() | {OTHERS[0]: told}, fleet())
    assert made["cluster"]["by_state"] == {"ok": 6, "not_responding": 1}
    assert "ssh-keygen" not in json.dumps(made)


def _stranger(**given: Any) -> dict[str, Any]:
    return {OTHERS[0]: probe(OTHERS[0], http=answering(status(OTHERS[0], **given)))}


GONE = {name: unreachable() for name in VOTERS}
DEAF = [{"name": name, "alive": False} for name in VOTERS]
ITSELF = {"leader_id": OTHERS[0], "effective_leader_id": OTHERS[0]}


@pytest.mark.parametrize(
    "given",
    [
        {"role": "leader", **ITSELF, "term": 99},
        {"role": "leader"},
        {"peers": DEAF},
        {"leader_id": "x", "effective_leader_id": "x", "term": 10**9},
        {"voter_node_ids": ["x"], "voters_alive": 0},
    ],
    ids=["says that it leads", "claims the role", "hears nobody", "names another", "other voters"],
)
def test_a_node_that_does_not_vote_changes_nothing_about_voters(given: dict[str, Any]) -> None:
    usual = report(well(), fleet())["cluster"]
    cluster = report(well() | _stranger(**given), fleet())["cluster"]
    assert [cluster[key] for key in ("leader_id", "term", "voters")] == [
        usual[key] for key in ("leader_id", "term", "voters")
    ]
    assert cluster["verdict"] == "degraded" or "peers" in given


def test_a_node_alone_cannot_say_that_voters_live() -> None:
    only = {name: host for name, host in fleet().hosts.items() if name != OTHERS[1]}
    cluster = report(GONE | _stranger(leader_id="x", effective_leader_id="x"), fleet(hosts=only))["cluster"]
    assert (cluster["verdict"], cluster["leader_id"]) == ("critical", None)
    assert cluster["voters"]["alive"] == []


@pytest.mark.parametrize("says", [False, True], ids=["others deny", "others vouch"])
def test_voters_say_whether_a_voter_lives_and_others_do_not(says: bool) -> None:
    peers = [{"name": name, "alive": says} for name in VOTERS]
    others = {name: probe(name, http=answering(status(name, peers=peers))) for name in OTHERS}
    others |= {f"vast-{at}": others[OTHERS[0]] for at in range(9)}
    hosts = {**fleet().hosts, **{name: fleet().hosts[OTHERS[0]] for name in others}}
    silent = [{"name": name, "alive": not says} for name in VOTERS if name != VOTERS[1]]
    given = well() | others
    for name in VOTERS[1:]:
        given[name] = probe(
            name, http=answering(status(name, peers=[*silent, {"name": VOTERS[1], "alive": True}]))
        )
    given[VOTERS[0]] = unreachable()
    alive = report(given, fleet(hosts=hosts))["cluster"]["voters"]["alive"]
    assert (VOTERS[0] in alive) is not says


def test_a_node_that_does_not_vote_says_nothing_about_the_store() -> None:
    told = probe(OTHERS[0], etcd=store(VOTERS[0], cluster_id="666", members=[], alarms=["alarm:CORRUPT"]))
    assert report(well() | {OTHERS[0]: told}, fleet())["cluster"]["problems"] == []
