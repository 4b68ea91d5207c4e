#!/usr/bin/python
"""Ansible module: one member of the cluster's etcd, added, promoted, given another address or removed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: p2p_member
short_description: Adds, promotes, readdresses or removes a member of the cluster's etcd
description:
  - Changes the member list through the node's own member, and asks again while the store refuses, as it does
    during an election and right after another change.
options:
  state:
    description:
      - V(learner) adds the member as a learner if no member listens at O(peer_url).
      - V(voting) promotes it once it has caught up.
      - V(moved) has the store list the member O(id) at O(peer_url) and O(also_at), and nowhere else.
      - V(absent) removes it.
    type: str
    choices: [learner, voting, moved, absent]
    required: true
  etcd:
    description: How to ask the node's own member. C(endpoint), and for TLS C(ca), C(cert), C(key) (paths on
      the node).
    type: dict
    required: true
  name:
    description: Name of the member's node.
    type: str
    required: true
  peer_url:
    description: Where it listens for the others; needed unless it is removed.
    type: str
    default: ""
  id:
    description: Its id, in decimal text. One that moved, and one that is removed if it is given, is known by
      it alone, since a member gives its name itself.
    type: str
    default: ""
  also_at:
    description: Further addresses at which the others may try one that moved.
    type: list
    elements: str
    default: []
  without:
    description: Ids, in decimal text, of members that the same run removes before. A preview finds them still
      there, and leaves them out.
    type: list
    elements: str
    default: []
  seconds:
    description: How long the change may take.
    type: float
    default: 120.0
  timeout:
    description: Seconds that each question to the store may take.
    type: float
    default: 5.0
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: The store lists the node as a learner
  p2p_member:
    state: learner
    name: hetzner-cpu2
    peer_url: https://192.0.2.7:2380
    etcd: "{{ etcd_probe_spec }}"
"""

RETURN = r"""
members:
  description: All members, each C(id), C(name), C(learner) and C(peer_urls).
  type: list
  elements: dict
  returned: always
initial_cluster:
  description: What the member has to be told of all members at its first start.
  type: str
  returned: when O(state) is V(learner) or V(voting)
"""

from typing import Any, Dict, List, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.p2p_members import Member, MemberError, Members, at, initial_cluster, remaining


def _is(member: Member, params: Dict[str, Any]) -> bool:
    if params["id"]:
        return bool(member["id"] == params["id"])
    return bool(member["name"] == params["name"] or params["peer_url"] in member["peer_urls"])


def _the_one(members: List[Member], params: Dict[str, Any]) -> Optional[Member]:
    """Return the member that is meant, None if there is none.

    Raises:
        MemberError: if one is to be removed by its name, and several have it.
    """
    mine = [member for member in members if _is(member, params)]
    if params["state"] == "absent" and len(mine) > 1:
        ids = ", ".join(member["id"] for member in mine)
        raise MemberError("the store has several members of this name (%s): run voters.yml again" % ids)
    return mine[0] if mine else None


def _urls(params: Dict[str, Any]) -> List[str]:
    return [params["peer_url"], *params["also_at"]]


def _is_there(member: Member, params: Dict[str, Any]) -> bool:
    return set(member["peer_urls"]) == set(_urls(params))


def _may_move(members: List[Member], params: Dict[str, Any]) -> None:
    """Raise MemberError where the store would refuse the address however often it is asked."""
    if not any(_is(member, params) for member in members):
        raise MemberError("the store has no member %s: run again" % params["id"])
    for member in members:
        there = sorted(set(member["peer_urls"]).intersection(_urls(params)))
        if there and not _is(member, params):
            raise MemberError(
                "the store lists %s at %s: run again" % (member["name"] or member["id"], there[0])
            )


def _change(params: Dict[str, Any], found: Optional[Member]) -> Optional[Dict[str, Any]]:
    """Return the path and body of the change that is missing, or None."""
    if params["state"] == "learner":
        body = {"peerURLs": [params["peer_url"]], "isLearner": True}
        return None if found else {"path": "/v3/cluster/member/add", "body": body}
    if params["state"] == "absent":
        return {"path": "/v3/cluster/member/remove", "body": {"ID": found["id"]}} if found else None
    if params["state"] == "moved":
        body = {"ID": params["id"], "peerURLs": _urls(params)}
        return (
            None
            if found and _is_there(found, params)
            else {"path": "/v3/cluster/member/update", "body": body}
        )
    if found and not found["learner"]:
        return None
    # A preview has added nobody.
    return {"path": "/v3/cluster/member/promote", "body": {"ID": found["id"] if found else "0"}}


def _done(params: Dict[str, Any], members: List[Member]) -> bool:
    if params["state"] == "absent":
        return not any(_is(member, params) for member in members)
    if params["state"] == "moved":
        return any(_is(member, params) and _is_there(member, params) for member in members)
    found = at(members, params["peer_url"])
    return found is not None and (params["state"] == "learner" or not found["learner"])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["learner", "voting", "moved", "absent"], "required": True},
            "etcd": {"type": "dict", "required": True},
            "name": {"type": "str", "required": True},
            "peer_url": {"type": "str", "default": ""},
            "id": {"type": "str", "default": ""},
            "also_at": {"type": "list", "elements": "str", "default": []},
            "without": {"type": "list", "elements": "str", "default": []},
            "seconds": {"type": "float", "default": 120.0},
            "timeout": {"type": "float", "default": 5.0},
        },
        required_if=[
            ("state", "learner", ["peer_url"]),
            ("state", "voting", ["peer_url"]),
            ("state", "moved", ["peer_url", "id"]),
        ],
        supports_check_mode=True,
    )
    params = module.params
    store = Members(params["etcd"], params["seconds"], params["timeout"])
    try:
        try:
            members = store.list()
        except MemberError:
            if params["state"] != "moved" or not module.check_mode:
                raise
            # A preview started nobody: whoever plans the change knows that it is one.
            module.exit_json(changed=True, members=[])
        if module.check_mode:
            members = remaining(members, params["without"])
        found = _the_one(members, params)
        if params["state"] == "moved" and not module.check_mode:
            # A preview stands before the changes that come before this one.
            _may_move(members, params)
        if params["state"] in ("learner", "voting"):
            found = at(members, params["peer_url"])
        change = _change(params, found)
        if change and not module.check_mode:
            members = store.until(lambda listed: _done(params, listed), change["path"], change["body"])
    except MemberError as error:
        module.fail_json(msg="%s: %s" % (params["name"], error))
    told = (
        {"initial_cluster": initial_cluster(members, params["name"], params["peer_url"])}
        if params["state"] in ("learner", "voting")
        else {}
    )
    module.exit_json(changed=change is not None, members=members, **told)


if __name__ == "__main__":
    main()
