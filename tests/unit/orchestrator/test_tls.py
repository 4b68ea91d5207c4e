"""Who may speak for whom, and the deny-list."""

from pathlib import Path
from typing import Any

import pytest

from p2p_orchestrator.config import TlsFiles
from p2p_orchestrator.errors import Exit, StartError
from p2p_orchestrator.tls import DenyList, Identity, check_peer, server_name

NOBODY = DenyList(None)


def certificate(name: str, *, ends: str = "Jan  1 00:00:00 2099 GMT", serial: str = "0A1B") -> dict[str, Any]:
    return {
        "subjectAltName": (("DNS", name), ("IP Address", "192.0.2.1")),
        "notAfter": ends,
        "serialNumber": serial,
    }


@pytest.mark.parametrize(
    ("cert", "reason"),
    [
        (certificate("n.p2p.p2p"), None),
        (certificate("m.p2p.p2p"), "impostor"),
        (certificate("n.other.p2p"), "wrong_cluster"),
        (certificate("xn.p2p.p2p"), "impostor"),
        ({}, "wrong_cluster"),
        (certificate("n.p2p.p2p", ends="Jan  1 00:00:00 2020 GMT"), "expired"),
    ],
)
def test_a_node_speaks_for_itself(cert: dict[str, Any], reason: str | None) -> None:
    found = check_peer(cert, "n", "p2p", NOBODY)
    assert (found and found[0]) == reason


@pytest.mark.parametrize("line", ["n", "0A1B", "a1b", "0a:1b  # lost", "\n# comment\nn\n"])
def test_names_and_serials_are_denied(tmp_path: Path, line: str) -> None:
    (tmp_path / "deny").write_text(line)
    found = check_peer(certificate("n.p2p.p2p"), "n", "p2p", DenyList(tmp_path / "deny"))
    assert found is not None
    assert found[0] == "denied"


def test_the_deny_list_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "deny"
    deny = DenyList(path)
    assert "n" not in deny
    path.write_text("n\n")
    deny.refresh()
    assert "n" in deny
    path.unlink()
    deny.refresh()
    assert "n" not in deny


def test_a_name_is_made_of_node_and_cluster() -> None:
    assert server_name("vast-1", "prod") == "vast-1.prod.p2p"


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot read .*ca: No such file"), ("x", "cannot use .* for TLS")]
)
def test_a_secret_that_cannot_be_used_is_one_line(tmp_path: Path, content: str | None, message: str) -> None:
    files = TlsFiles(tmp_path / "ca", tmp_path / "cert", tmp_path / "key")
    if content is not None:
        for path in (files.ca, files.cert, files.key):
            path.write_text(content)
    with pytest.raises(StartError, match=message) as error:
        Identity(files)
    assert error.value.code == Exit.SECRET
