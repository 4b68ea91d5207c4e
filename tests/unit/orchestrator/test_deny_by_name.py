"""A voter that is shut out by its name, in a cluster without certificates."""

import asyncio
from dataclasses import replace
from pathlib import Path

from p2p_orchestrator.agent import Agent
from p2p_orchestrator.beliefs import Answer
from p2p_orchestrator.clock import boottime
from p2p_orchestrator.config import load
from tests.unit.orchestrator.test_heartbeat_server import ENV


async def test_what_it_said_is_forgotten(tmp_path: Path) -> None:
    deny = tmp_path / "deny"
    agent = Agent(replace(load([], {**ENV, "P2P_SEEDS": "127.0.0.1,127.0.0.2,127.0.0.3"}), deny=deny))
    node = agent._node
    for voter in ("voter-b", "voter-c"):
        node.beliefs.take(Answer(voter, boottime()))
    before = agent._beating = agent._start(asyncio.sleep(3600.0))
    deny.write_text("voter-b\n")
    assert agent._deny.refresh()
    await agent._shut_out()
    assert node.beliefs.voters() == ("voter-c",)
    # What is still on its way from it is not believed either.
    assert before.cancelled()
    await agent._stop_beating()
