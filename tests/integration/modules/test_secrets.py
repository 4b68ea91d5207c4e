"""A private key on its way to a node: it stands in its file and nowhere else, and no run shows it."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator

import pytest

from tests.integration.modules.conftest import Node
from tests.support.leaks import leaks, parts

KEY = "/etc/p2p-secret/node.key"
CONF = "/etc/p2p-secret/node.conf"
UNIT = "[Service]\nExecStart=/bin/sleep inf\n"


@pytest.fixture
def secret(node: Node) -> Iterator[str]:
    """Lines as a private key's text has them, of this run alone."""
    yield base64.encodebytes(os.urandom(96)).decode()
    node.sh("rm -rf /etc/p2p-secret /etc/systemd/system/p2p_secret.service; systemctl daemon-reload")


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelining", "files"])
def test_a_secret_stands_in_its_file_alone_and_no_run_shows_it(
    node: Node, secret: str, pipelining: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_PIPELINING", str(pipelining))
    said, answers = node.said("secret.yml", "-vvvv", unit=UNIT, secret=secret, conf="colour=blue\n")
    assert node.sh(f"cat {KEY}") == secret.strip()
    assert not [part for part in parts(secret) if part in said]
    # What else the task says is there to be read.
    assert KEY in said
    assert "colour=blue" in said
    done, foretold = answers["done"], answers["foretold"]
    assert foretold["diff"] == done["diff"]
    ((_, key_diff),) = [(name, diff) for name, diff in _by_header(done["diff"]) if name == KEY]
    assert key_diff["after"].startswith("sha256:")
    logged = node.sh("journalctl --no-pager --output cat --identifier ansible-p2p_service")
    assert CONF in logged, "Ansible writes no arguments to this node's journal: the test shows nothing"
    assert leaks(node.name, [], parts(secret)) == [KEY]


def _by_header(diffs: list[dict[str, str]]) -> list[tuple[str, dict[str, str]]]:
    return [(diff["before_header"], diff) for diff in diffs]


@pytest.mark.parametrize("placeholder", ["(would be made with its certificate)", "\n"])
def test_what_stands_in_for_a_key_masks_nothing(node: Node, secret: str, placeholder: str) -> None:
    assert secret
    conf = f"a\n# {placeholder}\n"
    _, answers = node.said("secret.yml", unit=UNIT, secret=placeholder, conf=conf)
    (shown,) = [diff for name, diff in _by_header(answers["done"]["diff"]) if name == CONF]
    assert shown["after"] == conf


def test_a_secret_in_the_wrong_place_is_refused_before_it_is_logged(node: Node, secret: str) -> None:
    answer = node.module(
        "p2p_service", name="p2p_secret", files=[{"path": KEY, "content": secret, "secret": True}]
    )
    assert answer["failed"]
    assert f"{KEY}: the content of a secret file would stand in the node's journal" in json.dumps(answer)
    assert "give it in `secrets`" in json.dumps(answer)
    assert leaks(node.name, [], parts(secret)) == []
