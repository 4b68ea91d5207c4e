"""The members of the cluster's etcd, changed one at a time through the node's own member."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from typing import Any, Callable, Dict, List, Mapping, Optional

from .p2p_http import connect, post

Member = Dict[str, Any]


class MemberError(Exception):
    """A change that the store did not make in time; the message has its last words and the remedy."""


class Members:
    """The store's member list.

    Args:
        spec: the member's `endpoint`, and for TLS `ca`, `cert`, `key` (paths on the node).
        seconds: how long a change may take. A store that elects its leader, or just changed, refuses
            the next change for a moment: it is asked again until then.
        timeout: seconds that each question may take.
    """

    def __init__(self, spec: Mapping[str, Any], seconds: float, timeout: float) -> None:
        self.spec, self.seconds, self.timeout = spec, seconds, timeout

    def _ask(self, path: str, body: Mapping[str, Any]) -> Dict[str, Any]:
        connection: Optional[http.client.HTTPConnection] = None
        try:
            connection = connect(self.spec, self.timeout)
            return post(connection, path, json.dumps(body), time.monotonic() + self.timeout)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise MemberError("%s" % (error or type(error).__name__)) from error
        finally:
            if connection is not None:
                connection.close()

    def list(self) -> List[Member]:
        """Return the members, each `id`, `name` (empty before its first start), `learner` and `peer_urls`.

        Raises:
            MemberError: if the store does not answer.
        """
        return [
            {
                "id": str(item["ID"]),
                "name": item.get("name") or "",
                "learner": bool(item.get("isLearner")),
                "peer_urls": list(item.get("peerURLs") or []),
            }
            for item in self._ask("/v3/cluster/member/list", {}).get("members") or []
        ]

    def until(self, done: Callable[[List[Member]], bool], path: str, body: Mapping[str, Any]) -> List[Member]:
        """Ask for a change until the list shows it.

        Args:
            done: tells from the list whether it is made.
            path: of etcd's JSON gateway.
            body: the question.

        Returns:
            The list with the change.

        Raises:
            MemberError: if it was not made in time.
        """
        deadline, said = time.monotonic() + self.seconds, "no answer"
        while time.monotonic() < deadline:
            try:
                members = self.list()
                if done(members):
                    return members
                self._ask(path, body)
                continue
            except MemberError as error:
                said = "%s" % error
            time.sleep(1)
        with contextlib.suppress(MemberError):
            members = self.list()
            if done(members):
                return members
        raise MemberError(
            "the store did not make the change within %g s: %s; run the same again" % (self.seconds, said)
        )


def at(members: List[Member], peer_url: str) -> Optional[Member]:
    """Return the member that listens at an address, or None."""
    return next((member for member in members if peer_url in member["peer_urls"]), None)


def remaining(members: List[Member], gone: List[str]) -> List[Member]:
    """Return the members that are left once those with the ids `gone` are removed."""
    return [member for member in members if member["id"] not in gone]


def initial_cluster(members: List[Member], name: str, peer_url: str) -> str:
    """Return what a member that starts for the first time has to be told of all members, itself included.

    Args:
        members: all of them; those that never started have no name, which etcd does not mind.
        name: of the one that starts.
        peer_url: where it listens.
    """
    pairs = {url: member["name"] or member["id"] for member in members for url in member["peer_urls"]}
    pairs[peer_url] = name
    return ",".join("%s=%s" % (pairs[url], url) for url in sorted(pairs))
