"""Settings that are read again: what a file says, what of it holds at once, and what is left alone."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from p2p_orchestrator.agent import Agent
from p2p_orchestrator.beliefs import parse as parse_answer
from p2p_orchestrator.clock import boottime
from p2p_orchestrator.config import Config, load
from p2p_orchestrator.documents import peers, status_head
from p2p_orchestrator.membership import Members
from p2p_orchestrator.node import Node
from p2p_orchestrator.settings import (
    LIVE_ON_NON_VOTERS,
    LIVE_SETTINGS,
    VARIABLES,
    SettingsFile,
    parse,
)

NODE = {
    "NODE_ID": "vast-1",
    "RINGRIFT_PATH": "/nowhere",
    "P2P_SEEDS": "192.0.2.1,192.0.2.2,192.0.2.3",
    "P2P_VOTERS": "a,b,c",
    "P2P_ADVERTISE_URL": "http://192.0.2.9:8770",
}
VOTER = {**NODE, "NODE_ID": "a", "P2P_ETCD_ENDPOINT": "http://127.0.0.1:2379"}


def text(values: Mapping[str, str]) -> str:
    return "".join(f'{name}="{value}"\n' for name, value in values.items())


class Running:
    """The settings of a running program and their file."""

    def __init__(self, path: Path, values: Mapping[str, str]) -> None:
        self.path = path
        self.path.write_text(text(values))
        self.config = load(["--host", "::1"], values)
        self.file = SettingsFile(path, ["--host", "::1"], values)

    def take(self, content: str | Mapping[str, str]) -> Config:
        """Return the settings after the file was written anew."""
        self.path.write_text(content if isinstance(content, str) else text(content))
        return self.file.read(self.config)


def events(captured: pytest.CaptureFixture[str]) -> list[str]:
    lines = captured.readouterr().err.splitlines()
    return [
        " ".join(word for word in line.split(" ") if not word.startswith(("at=", "20"))) for line in lines
    ]


def test_lines_are_read_as_systemd_reads_them() -> None:
    content = """
    # comment
    ; comment too
    A=1
    B = two words
    C="quoted, with spaces # and 'this'"
    D='single "x"'
    E=
    F=""
    G=a=b # no comment
    A=2
    """
    assert parse(content) == {
        "A": "2",
        "B": "two words",
        "C": "quoted, with spaces # and 'this'",
        "D": 'single "x"',
        "E": "",
        "F": "",
        "G": "a=b # no comment",
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("NODE_ID", "line 2 is not KEY=VALUE"),
        ("=x", "line 2 is not KEY=VALUE"),
        ("export A=x", "line 2 is not KEY=VALUE"),
        ('A="x', "line 2 has a quote"),
        ('A="', "line 2 has a quote"),
        ('A="x" y', "line 2 has a quote"),
        ('A="x"y"', "line 2 has a quote"),
        ("A=x'y", "line 2 has a quote"),
        ("A=x\\", "line 2 has a backslash"),
    ],
)
def test_a_line_that_may_mean_something_else_is_refused(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(f"# first\n{line}\n")


def test_each_field_has_a_variable_and_each_live_variable_a_field() -> None:
    assert set(VARIABLES) == {item.name for item in fields(Config)}
    assert {*LIVE_SETTINGS, *LIVE_ON_NON_VOTERS} <= set(VARIABLES.values())


@pytest.mark.parametrize("values", [NODE, VOTER])
def test_what_holds_at_once_on_every_node(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], values: dict[str, str]
) -> None:
    running = Running(tmp_path / "node.conf", values)
    new = running.take({**values, "RINGRIFT_PATH": "/else where", "P2P_ADVERTISE_URL": "https://h:1"})
    assert (str(new.ringrift_path), new.advertise.url) == ("/else where", "https://h:1")
    assert (new.host, new.seeds, new.voters) == ("::1", running.config.seeds, running.config.voters)
    assert events(capfd) == []


def test_a_line_that_is_gone_is_gone_though_the_environment_still_has_it(tmp_path: Path) -> None:
    proxied = {**NODE, "P2P_SOCKS_PROXY": "socks5://127.0.0.1:1055"}
    running = Running(tmp_path / "node.conf", proxied)
    assert running.config.socks_proxy is not None
    assert running.take(NODE).socks_proxy is None


def test_other_variables_stay_those_of_the_start_where_the_file_has_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    values = {**NODE, "P2P_DATA_DIR": "/d", "P2P_CLUSTER": "lab"}
    running = Running(tmp_path / "node.conf", values)
    assert running.take(NODE) == running.config
    assert events(capfd) == []


def test_a_node_that_does_not_vote_takes_other_voters(tmp_path: Path) -> None:
    running = Running(tmp_path / "node.conf", NODE)
    new = running.take({**NODE, "P2P_SEEDS": "192.0.2.4:9", "P2P_VOTERS": "d"})
    assert (new.voters, [seed.url for seed in new.seeds]) == (("d",), ["http://192.0.2.4:9"])


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        (NODE, {"P2P_PORT": "1", "P2P_CLUSTER": "x"}, "P2P_PORT,P2P_CLUSTER"),
        (NODE, {"NODE_ID": "other"}, "NODE_ID"),
        (NODE, {"P2P_TLS_CA": "/a", "P2P_TLS_CERT": "/b", "P2P_TLS_KEY": "/c"}, "P2P_TLS_*"),
        (VOTER, {"P2P_SEEDS": "192.0.2.1,192.0.2.2,192.0.2.4"}, "P2P_SEEDS"),
        (VOTER, {"P2P_SOCKS_PROXY": "socks5://127.0.0.1:1"}, "P2P_SOCKS_PROXY"),
        # A voter that is to vote no more, and a node that is to vote.
        (VOTER, {"P2P_VOTERS": "b,c,d"}, "P2P_VOTERS"),
        (
            NODE,
            {"P2P_VOTERS": "a,b,vast-1", "P2P_ETCD_ENDPOINT": "http://127.0.0.1:1"},
            "P2P_VOTERS,P2P_ETCD_ENDPOINT",
        ),
    ],
)
def test_what_needs_a_restart_is_left_and_named(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    before: dict[str, str],
    after: dict[str, str],
    named: str,
) -> None:
    running = Running(tmp_path / "node.conf", before)
    assert running.take({**before, **after}) == running.config
    said = f"level=warning event=settings_need_restart file={running.path} settings={named}"
    assert events(capfd) == [said]
    both = running.take({**before, **after, "RINGRIFT_PATH": "/x"})
    assert str(both.ringrift_path) == "/x"
    assert both.port == running.config.port


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("NODE_ID\n", "line 1 is not KEY=VALUE"),
        (text({**NODE, "P2P_ADVERTISE_URL": "ftp://h"}), "P2P_ADVERTISE_URL is"),
        (text({**NODE, "P2P_VOTERS": "a,b"}), "P2P_VOTERS has 2 names and P2P_SEEDS 3 addresses"),
        (text({**NODE, "P2P_VOTERS": "a,b,vast-1"}), "P2P_ETCD_ENDPOINT is not set"),
        ("A=\udcff\n", "codec"),
    ],
)
def test_a_file_that_cannot_be_used_changes_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: str, reason: str
) -> None:
    running = Running(tmp_path / "node.conf", NODE)
    running.path.write_bytes(content.encode(errors="surrogateescape"))
    assert running.file.read(running.config) == running.config
    said = events(capfd)
    assert len(said) == 1
    assert "level=warning event=settings_refused" in said[0]
    assert reason in said[0]


def test_what_could_only_be_taken_up_in_part_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without TLS seeds need no names, but TLS would stay until a restart."""
    tls = {f"P2P_TLS_{part}": f"/{part}" for part in ("CA", "CERT", "KEY")}
    running = Running(tmp_path / "node.conf", {**NODE, **tls})
    assert running.take({**NODE, **dict.fromkeys(tls, ""), "P2P_VOTERS": ""}) == running.config
    assert "event=settings_refused" in events(capfd)[0]


def test_the_digest_is_that_of_the_text_that_holds_in_full(tmp_path: Path) -> None:
    running = Running(tmp_path / "node.conf", NODE)
    assert running.file.digest is None
    running.take({**NODE, "RINGRIFT_PATH": "/x"})
    taken = hashlib.sha256(running.path.read_bytes()).hexdigest()
    assert running.file.digest == taken
    running.take({**NODE, "RINGRIFT_PATH": "/x", "P2P_PORT": "8779"})
    assert running.file.digest == taken
    running.take("nonsense")
    assert running.file.digest == taken


def test_a_file_is_read_once_a_change(tmp_path: Path) -> None:
    running = Running(tmp_path / "node.conf", NODE)
    assert running.file.changed()
    assert not running.file.changed()
    new = tmp_path / "new"
    new.write_text(text(NODE))
    new.replace(running.path)
    assert running.file.changed()
    running.path.unlink()
    assert running.file.changed()
    assert not running.file.changed()


def answering(node: Node, voter: str, leader: str, term: int, now: float) -> None:
    fields: dict[str, Any] = {"leader_id": leader, "term": term, "remaining": 9.0, "quorum_age": 0.0}
    states = dict.fromkeys(node.config.voters, "alive")
    node.beliefs.take(
        parse_answer({"node_id": voter, "alive": 3, "known": 3, "voters": states, **fields}, now)
    )


def node_of(values: Mapping[str, str]) -> Node:
    config, now = load([], values), boottime()
    return Node(
        config,
        "i",
        Members(config.node_id, "i", config.voters, now - 100),
        started=now - 100,
        conflicting=True,
    )


def test_those_who_are_no_voters_any_more_are_not_believed() -> None:
    node, now = node_of(NODE), boottime()
    answering(node, "a", "a", 9, now)
    answering(node, "b", "b", 4, now)
    assert node.leader(now)[:2] == ("a", 9)
    assert set(peers(node, now, alive_only=True)) == {"a", "b", "c"}
    node.take_up(load([], {**NODE, "P2P_SEEDS": "192.0.2.2,192.0.2.4", "P2P_VOTERS": "b,d"}), now)
    assert node.leader(now)[:2] == ("b", 4)
    assert set(node.members.names()) == {"vast-1", "b", "d"}
    page = status_head(node, now)
    assert (page["voter_states"], page["voter_quorum_size"]) == ({"b": "alive", "d": "unknown"}, 2)
    assert page["leaders_reported"] == ["b"]
    assert not node.conflicting
    # A voter that is new is given as long to answer as one at a start.
    assert node.voter_states(now + 15.1)["d"] == "dead"


def test_without_names_no_former_answer_is_believed() -> None:
    unnamed = {**NODE, "P2P_VOTERS": ""}
    node, now = node_of(unnamed), boottime()
    answering(node, "a", "a", 9, now)
    node.take_up(load([], {**unnamed, "P2P_SEEDS": "192.0.2.4"}), now)
    assert node.leader(now) == (None, 0, 0.0)
    assert node.quorum_age(now) is None
    assert node.voters() == ()


def test_a_change_that_does_not_concern_voters_forgets_nothing() -> None:
    node, now = node_of(NODE), boottime()
    answering(node, "a", "a", 9, now)
    node.take_up(load([], {**NODE, "RINGRIFT_PATH": "/x"}), now)
    assert node.leader(now)[:2] == ("a", 9)
    assert node.conflicting


@contextlib.asynccontextmanager
async def answers(
    name: str, host: str, port: int, delay: float = 0.0
) -> AsyncIterator[tuple[int, list[str]]]:
    """Answer heartbeats like a voter, each after `delay` seconds; yield the port and whose they were."""
    heard: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        heard.append(request.match_info["node"])
        await asyncio.sleep(delay)
        told = {"node_id": name, "leader_id": name, "term": 1, "remaining": 9.0}
        return web.json_response({**told, "alive": 1, "known": 1})

    app = web.Application()
    app.add_routes([web.post("/v1/heartbeat/{node}", answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    try:
        yield runner.addresses[0][1], heard
    finally:
        await runner.cleanup()


async def until(what: Any) -> None:
    for _ in range(600):
        if what():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("not within 30 s")


async def test_an_answer_that_is_under_way_to_the_old_settings_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2p_orchestrator.agent.RELOAD_SECONDS", 0.1)
    async with (
        answers("old", "127.0.0.1", 0, delay=1.0) as (port, heard),
        answers("new", "127.0.0.2", port),
    ):
        values = {**NODE, "P2P_HEARTBEAT_PORT": str(port)}
        values |= {"P2P_SEEDS": "127.0.0.1", "P2P_VOTERS": "old"}
        running = Running(tmp_path / "node.conf", values)
        agent = Agent(running.config, running.file)
        node = agent._node
        agent._start_tasks()
        try:
            await until(lambda: heard)
            running.path.write_text(text({**values, "P2P_SEEDS": "127.0.0.2", "P2P_VOTERS": "new"}))
            await until(lambda: node.leader(boottime())[0] == "new")
            before = len(heard)
            await asyncio.sleep(1.5)
            assert node.beliefs.voters() == ("new",)
            assert len(heard) == before
        finally:
            await agent._shut_down()
