"""What the probe learns from a real etcd member."""

from __future__ import annotations

from module_utils.p2p_http import ask_etcd


def test_a_member_tells_what_it_is(member: tuple[str, str]) -> None:
    endpoint, data = member
    found = ask_etcd({"endpoint": endpoint}, data, 2)
    assert found["error"] is None
    assert found["has_data"] is True
    assert found["leader"] == found["member_id"] == found["members"][0]["id"]
    assert found["members"][0]["name"] == "a"
    assert found["members"][0]["client_urls"] == [endpoint]
    assert found["members"][0]["learner"] is False
    assert found["cluster_id"].isdigit()
    assert found["raft_index"] > 0
    assert found["alarms"] == []
    assert found["version"].startswith("3.")
