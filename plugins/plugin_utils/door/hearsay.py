"""What a node repeats of other nodes: a lie of one of them must not cost the node that repeats it its word.

One voter's answer to a heartbeat is on the /status of every node, and the name that one member of the store
gives itself in the lists of all. What cannot be true of a node is as unsaid; what no program of ours repeats,
such as a list in the place of a name, stays and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .words import FEW, LARGEST_COUNT, LARGEST_SECONDS, LARGEST_SMALL, NODE_NAME, URL

_NAME, _URL = re.compile(NODE_NAME), re.compile(URL)
_NUMBERS = {"term": LARGEST_COUNT, "alive_peers": LARGEST_SMALL, "voters_alive": LARGEST_SMALL}
_TIMES = {"seconds_since_quorum": LARGEST_SECONDS}


def unsaid(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a probe without what it repeats of others and cannot be true.

    Args:
        raw: of any shape; what is none of a probe stays as it is.
    """
    found, http, etcd = dict(raw), raw.get("http"), raw.get("etcd")
    if isinstance(http, Mapping):
        found["http"] = {
            name: {**page, "body": _document(page["body"])}
            if isinstance(page, Mapping) and isinstance(page.get("body"), Mapping)
            else page
            for name, page in http.items()
        }
    if isinstance(etcd, Mapping) and isinstance(etcd.get("members"), list):
        found["etcd"] = {**etcd, "members": members(etcd["members"])}
    return found


def members(listed: list[Any]) -> list[Any]:
    """Return the store's members: a name that is none is missing, an address that is none is left out."""
    return [_member(item) if isinstance(item, Mapping) else item for item in listed]


def _member(item: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(item)
    if "name" in found:
        found["name"] = _known(found["name"]) or ""
    for key in ("peer_urls", "client_urls"):
        if isinstance(found.get(key), list):
            found[key] = [url for url in found[key] if not isinstance(url, str) or _URL.fullmatch(url)][:FEW]
    return found


def _document(body: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(body)
    for key in ("leader_id", "effective_leader_id"):
        if key in found:
            found[key] = _known(found[key])
    for key, most in _NUMBERS.items():
        value = found.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and not 0 <= value <= most:
            found[key] = None
    for key, longest in _TIMES.items():
        value = found.get(key)
        if isinstance(value, float | int) and not isinstance(value, bool) and not 0 <= value <= longest:
            found[key] = None
    if isinstance(found.get("voter_node_ids"), list):
        found["voter_node_ids"] = [name for name in found["voter_node_ids"] if _known(name) is not None]
    if isinstance(found.get("peers"), list):
        found["peers"] = [
            peer
            for peer in found["peers"]
            if not isinstance(peer, Mapping) or _known(peer.get("name")) is not None
        ]
    return found


def _known(name: object) -> object:
    """Return a name, None in the place of a text that is none."""
    return None if isinstance(name, str) and name and not _NAME.fullmatch(name) else name
