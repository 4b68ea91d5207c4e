"""Action plugin: has the module p2p_release make a release, and sends the archive where it is needed."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.action import Door, end_children
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.read import MESSAGE, Answer
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.texts import block, line

NAME = "archive.tar.xz"
_TOKEN = re.compile(r"[0-9a-f]{32}")


def receive(token: str) -> str:
    """Return the shell command that keeps its input on a node as an archive, in a folder that it makes.

    It knows no more than a shell does: a node may have no other program than that and a Python. It says in
    which folder of temporary files it was.

    Args:
        token: 32 hexadecimal digits, which nobody can guess.
    """
    if not _TOKEN.fullmatch(token):
        raise ValueError(f"{token!r} is no token")
    keep = f'cat >"$made/{NAME}" && echo "made:$folder:" && exit 0; rm -rf "$made"; exit 1'
    return (
        f"umask 077; for folder in /var/tmp /tmp; do made=$folder/p2p-release-{token};"
        f' if mkdir "$made"; then {keep}; fi; done; exit 1'
    )


_MADE = re.compile(r"^made:((?:/var)?/tmp):\r?$", re.MULTILINE)


class ActionModule(Door):
    """Runs p2p_release.

    Options of its own: `expected`, whether the node is known to lack the release, so that its archive is sent
    before it is asked for; `folder_url`, a folder on a web server that has archives under the names that they
    have here.
    """

    MODULE = "p2p_release"

    def answer(self, variables: dict[str, Any]) -> Answer:
        """Run the task.

        Returns:
            What p2p_release documents.

        Raises:
            AnsibleActionFail: the archive is not what was built, or cannot be sent.
        """
        arguments = dict(self._task.args)
        expected, folder = bool(arguments.pop("expected", False)), arguments.pop("folder_url", None)
        source = dict(arguments.get("artifact") or {})
        whole = {key: source.pop(key, None) for key in ("path", "sha256")}
        since = source.pop("since", None)
        if source:
            arguments["artifact"] = source
        if whole["path"] is None or self._task.check_mode:
            return self.ask(arguments, variables)
        url = arguments.pop("url", None) or (folder and beside(folder, whole["path"]))
        ways: list[dict[str, Any]] = [{"archive": since, "partial": True}] if since else []
        ways += [{"url": url}] if url else []
        ways += [{"archive": whole}]
        reasons = []
        for way in ways if expected else [{}, *ways]:
            sent = way | ({"archive": self._send(way["archive"])} if "archive" in way else {})
            answer = self.ask(arguments | sent, variables)
            if "needed" not in answer:
                break
            reason = answer.pop("needed")
            reasons += [reason] if "url" in way else []
        else:
            raise AnsibleActionFail(f"the node does not take the archive of the release: {line(reason)}")
        if reasons:
            told = "the controller sent the archive, which the node did not get from p2p_release_url"
            warning = f"{told}: {reasons[0]}"
            answer["warnings"] = [*answer.get("warnings", []), warning]
        return answer

    def _send(self, archive: Mapping[str, str]) -> str:
        """Put an archive on the node, as whoever runs the module there, and return its path.

        Args:
            archive: its `path` on the controller and the `sha256` of its bytes.

        Raises:
            AnsibleActionFail: the node has no room for it, or says no path that was asked for.
            AnsibleConnectionFailure: it is not reached; the message is cleaned.
        """
        try:
            content, token = read(Path(archive["path"]), archive["sha256"]), secrets.token_hex(16)
            done = self._low_level_execute_command(receive(token), in_data=content)
        except AnsibleConnectionFailure as error:
            end_children()
            raise AnsibleConnectionFailure(block(error.message, MESSAGE)) from None
        found = _MADE.search(str(done.get("stdout") or ""))
        if done.get("rc") != 0 or found is None:
            said = block(str(done.get("stderr") or "it said nothing").strip(), MESSAGE)
            raise AnsibleActionFail(
                f"the archive of the release could not be put into /var/tmp or /tmp of the node: {said}"
            )
        return f"{found.group(1)}/p2p-release-{token}/{NAME}"


def beside(folder: str, path: str) -> str:
    """Return the URL of an archive that lies under its own name in a folder of a web server."""
    return f"{folder.rstrip('/')}/{quote(Path(path).name)}"


def read(path: Path, sha256: str) -> bytes:
    """Return an archive's bytes.

    Raises:
        AnsibleActionFail: they are not those that were built.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AnsibleActionFail(f"{path}: {error.strerror or error}: run again") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise AnsibleActionFail(f"{path} was changed after it was built: remove it and run again")
    return content
