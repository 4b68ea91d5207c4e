"""Settings that change under a running program, which goes on as the same process."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from tests.integration.orchestrator.cluster import Agent, Cluster, wait

LINES = ("NODE_ID", "P2P_SEEDS", "P2P_VOTERS", "RINGRIFT_PATH", "P2P_ADVERTISE_URL", "P2P_ETCD_ENDPOINT")


def write(agent: Agent, **changes: str) -> None:
    """Write an agent's settings file as a deploy does: a new file in the place of the old one."""
    assert agent.env is not None
    path = Path(agent.env["P2P_SETTINGS_FILE"])
    values: Mapping[str, str] = {name: agent.env[name] for name in LINES if name in agent.env} | changes
    new = path.with_suffix(".new")
    new.write_text("# settings\n" + "".join(f'{name}="{value}"\n' for name, value in values.items()))
    new.replace(path)


def said(agent: Agent, event: str) -> list[str]:
    return [found.get("settings", "") for found in agent.events() if found["event"] == event]


def told(agent: Agent, host: str, free: float) -> bool:
    """Tell whether an agent says of itself that it has this address and this much free disk in GiB."""
    own = agent.status()["self"]
    return bool((own["host"], own["disk_free_gb"]) == (host, free))


def test_a_running_program_takes_up_what_it_can(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 1, 2)
    for name in ("voter-1", "vast-1"):
        file = {"P2P_SETTINGS_FILE": str(tmp_path / f"{name}.conf")}
        cluster.agents[name] = cluster.agent(name, name, **file, P2P_ADVERTISE_URL="http://192.0.2.1:1")
        write(cluster.agents[name])
    # Another cluster: one machine that decides alone.
    elsewhere = {"P2P_SEEDS": f"http://{cluster.addresses['vast-2']}:8770", "P2P_VOTERS": "other-1"}
    other = cluster.agent("other-1", "vast-2", P2P_ETCD_ENDPOINT="", **elsewhere)
    cluster.agents["vast-2"] = other
    voter, node = cluster.agents["voter-1"], cluster.agents["vast-1"]
    with cluster:
        wait("each has its leader", lambda: node.leader == voter.leader == "voter-1", 60)
        wait("the other one too", lambda: other.leader == "other-1", 60)
        first = {agent.name: agent.status()["incarnation"] for agent in (voter, node)}
        assert node.status()["self"]["disk_free_gb"] > 0

        for agent in (voter, node):
            write(agent, P2P_ADVERTISE_URL="http://192.0.2.7:7", RINGRIFT_PATH="/proc")
        for agent in (voter, node):
            wait("address and path", partial(told, agent, "192.0.2.7", 0.0), 15)
            assert said(agent, "settings_changed") == ["RINGRIFT_PATH,P2P_ADVERTISE_URL"]
        wait("the voter is told", lambda: voter.status()["peers"]["vast-1"]["host"] == "192.0.2.7", 15)

        for agent in (voter, node):
            write(agent, P2P_ADVERTISE_URL="http://192.0.2.7:7", RINGRIFT_PATH="/proc", **elsewhere)
        wait("it follows the other voter", lambda: node.leader == "other-1", 15)
        status = node.status()
        assert (status["voter_node_ids"], status["leaders_reported"]) == (["other-1"], ["other-1"])
        assert status["voter_quorum_ok"]
        wait("it is alive there", lambda: "vast-1" in other.status()["peers"], 15)
        wait("a voter stays one", lambda: said(voter, "settings_need_restart"), 10)
        wait("the former voter hears nothing more", lambda: "vast-1" not in voter.status()["peers"], 30)
        assert voter.leader == "voter-1"
        assert said(node, "settings_need_restart") == []
        assert first == {agent.name: agent.status()["incarnation"] for agent in (voter, node)}
