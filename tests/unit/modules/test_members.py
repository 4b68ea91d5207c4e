"""What a preview, and a member at its first start, is told of the store's members."""

from __future__ import annotations

from module_utils.p2p_members import at, initial_cluster, remaining

URLS = {name: f"https://192.0.2.{number}:2380" for number, name in enumerate("abcd", 1)}
MEMBERS = [
    {"id": str(number), "name": name, "learner": False, "peer_urls": [URLS[name]]}
    for number, name in enumerate("abc", 1)
]


def test_a_preview_leaves_out_who_is_removed_before() -> None:
    left = remaining(MEMBERS, ["2", "99"])
    assert initial_cluster(left, "d", URLS["d"]) == ",".join(f"{name}={URLS[name]}" for name in "acd")
    assert remaining(MEMBERS, []) == MEMBERS


def test_one_that_is_removed_and_joins_again_is_no_member_between() -> None:
    left = remaining(MEMBERS, ["2"])
    assert at(MEMBERS, URLS["b"]) is not None
    assert at(left, URLS["b"]) is None
    assert initial_cluster(left, "b", URLS["b"]) == ",".join(f"{name}={URLS[name]}" for name in "abc")
