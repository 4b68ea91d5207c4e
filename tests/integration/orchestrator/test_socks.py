"""A node whose only way out is a SOCKS5 proxy on its loopback."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from module_utils.p2p_reach import reach
from tests.integration.orchestrator.cluster import Agent, wait
from tests.integration.orchestrator.proxy import Proxy
from tests.integration.orchestrator.secure import Secure


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    with Proxy(tmp_path) as found:
        yield found


def heard(voter: Agent) -> dict[str, Any]:
    """Return what a voter says of the node behind the proxy, {} if it says nothing."""
    peers = voter.get("/status?alive_only=false")[1].get("peers", {})
    return dict(peers.get("vast-1", {}))


def test_heartbeats_over_mutual_tls_go_through_the_proxy(proxy: Proxy, tmp_path: Path) -> None:
    inside = tmp_path / "cluster"
    inside.mkdir()
    with Secure(inside, 1, 1) as cluster:
        url = f"socks5://127.0.0.1:{proxy.port}"
        node = cluster.agents["vast-1"]
        assert node.env is not None
        node.kill()
        node.env["P2P_SOCKS_PROXY"] = url
        before = proxy.connections()
        node.start()
        voter = cluster.agents["voter-1"]
        wait("it is alive", lambda: heard(voter).get("is_alive"), 60)
        wait("it knows the leader", lambda: node.leader == "voter-1", 60)
        assert proxy.connections() > before
        target = {"host": cluster.addresses["voter-1"], "port": 8771, "proxy": proxy.port}
        closed = {**target, "port": 1}
        assert [item["outcome"] for item in reach([target, closed], 10.0)] == ["open", "blocked"]
        # Between two heartbeats: one under way breaks off for another reason, and only the first is logged.
        wait("just heard", lambda: heard(voter).get("seconds_since_heartbeat", 9.0) < 1.0, 60)
        # Nothing goes past a proxy that is gone.
        proxy.__exit__()
        wait("it is dead", lambda: heard(voter).get("state") == "dead", 60)
        said = [e for e in node.events() if e["event"] == "voter_unreachable"]
        assert f"the SOCKS5 proxy 127.0.0.1:{proxy.port}" in said[-1]["reason"]
