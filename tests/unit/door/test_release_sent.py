"""The archive of a release on its way to a node: sent where it is needed, and only then."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shlex
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

from action_plugins.p2p_release import _MADE, NAME, beside, read, receive
from tests.support.artifacts import FILES, as_option, packed

PROJECT = Path(__file__).parents[3]
BOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
    names: [preview, asked, again, expected, unfetched, fetched, torn, lacking, back]
  module_defaults:
    p2p_release:
      root: "{{ folder }}/opt/p2p"
      name: 1.0-a
      artifact: "{{ artifact }}"
      python: "{{ ansible_playbook_python }}"
      min_free_mb: 0
  tasks:
    - name: It is foretold
      p2p_release: {}
      check_mode: true
      register: preview
    - name: It is asked for
      p2p_release: {}
      register: asked
    - name: It is there
      p2p_release: {}
      register: again
    - name: It is sent without being asked for
      p2p_release: {root: "{{ folder }}/opt/expected", expected: true}
      register: expected
    - name: It cannot be fetched
      p2p_release: {root: "{{ folder }}/opt/unfetched", folder_url: "{{ dead }}", expected: true}
      register: unfetched
    - name: It is fetched
      p2p_release: {root: "{{ folder }}/opt/fetched", folder_url: "{{ served }}/", expected: true}
      register: fetched
    - name: It is not what was built
      p2p_release:
        root: "{{ folder }}/opt/torn"
        artifact: "{{ artifact | combine({'sha256': '0' * 64}) }}"
      register: torn
      ignore_errors: true
    - name: It lacks what the node has not
      p2p_release: {root: "{{ folder }}/opt/short", artifact: "{{ short }}", expected: true}
      register: lacking
      ignore_errors: true
    - name: What is there is activated
      p2p_release: {state: active}
      register: back
    - name: What was answered
      ansible.builtin.copy:
        content: "{{ dict(names | zip(names | map('extract', vars))) | to_json }}"
        dest: "{{ folder }}/answers.json"
"""


def left_behind(content: bytes) -> list[Path]:
    """Return where an archive of some bytes was sent to and is still there."""
    places = [path for place in ("/var/tmp", "/tmp") for path in Path(place).glob(f"p2p-release-*/{NAME}")]  # noqa: S108
    return [path for path in places if path.read_bytes() == content]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as the library calls it
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the test's folder on a web server."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))
    ) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def test_an_archive_is_sent_where_it_is_needed(tmp_path: Path, served: str) -> None:
    # Of its own, since other runs of this test may be under way.
    files = {**FILES, "tiny/run.txt": str(uuid.uuid4())}
    found, archive = packed(tmp_path / "a.tar.xz", files), tmp_path / "a.tar.xz"
    artifact = as_option(found, archive) | {
        "path": str(archive),
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
    }
    packed(tmp_path / "short.tar.xz", files, brought=("other.py",))
    short = artifact | {
        "path": str(tmp_path / "short.tar.xz"),
        "sha256": hashlib.sha256((tmp_path / "short.tar.xz").read_bytes()).hexdigest(),
    }
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}"
        given = {
            "folder": str(tmp_path),
            "artifact": artifact,
            "dead": dead,
            "served": served,
            "short": short,
        }
        answers = played(tmp_path, given)
    assert not [name for name, one in answers.items() if one.get("untrusted")], answers
    assert answers["preview"]["changed"]
    assert answers["asked"]["actions"] == answers["preview"]["actions"]
    assert not answers["again"]["changed"]
    assert (tmp_path / "opt/p2p/current/artifact.json").exists()
    assert answers["expected"]["changed"]
    assert "warnings" not in answers["expected"]
    (warning,) = answers["unfetched"]["warnings"]
    assert warning.startswith("localhost: the controller sent the archive, which the node did not get from")
    assert "Connection refused" in warning
    assert f"{dead}/a.tar.xz cannot be fetched" in warning
    assert (tmp_path / "opt/unfetched/current").is_symlink()
    assert answers["fetched"]["changed"]
    assert "warnings" not in answers["fetched"]
    assert "was changed after it was built: remove it and run again" in answers["torn"]["msg"]
    assert not (tmp_path / "opt/torn/current").exists()
    why = "the node does not take the archive of the release: "
    assert answers["lacking"]["msg"].startswith(why)
    assert answers["lacking"]["msg"].endswith(" is in no release on the node")
    assert not (tmp_path / "opt/short/current").exists()
    assert answers["back"]["release"] == "1.0-a"
    assert left_behind(archive.read_bytes()) == []


def played(folder: Path, variables: dict[str, Any]) -> dict[str, Any]:
    """Run the tasks; return what each registered."""
    (folder / "book.yml").write_text(BOOK)
    (folder / "variables.json").write_text(json.dumps(variables))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "book.yml"]
    done = subprocess.run(
        [*command, "-e", "@variables.json"],
        cwd=folder,
        env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((folder / "answers.json").read_text())
    return found


@pytest.mark.parametrize("folder", ["https://x.example/a", "https://x.example/a/"])
def test_an_archive_has_its_own_name_on_a_web_server(folder: str) -> None:
    assert beside(folder, "/srv/1.0+b-a c.tar.xz") == "https://x.example/a/1.0%2Bb-a%20c.tar.xz"


def test_an_archive_is_read_only_as_it_was_built(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.xz"
    path.write_bytes(b"archive")
    digest = hashlib.sha256(b"archive").hexdigest()
    assert read(path, digest) == b"archive"
    with pytest.raises(AnsibleActionFail, match="was changed after it was built: remove it and run again"):
        read(path, "0" * 64)
    path.unlink()
    with pytest.raises(AnsibleActionFail, match=r"a\.tar\.xz: No such file or directory: run again"):
        read(path, digest)


TOKEN = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("said", "folder"),
    [
        ("made:/var/tmp:\n", "/var/tmp"),  # noqa: S108
        ("made:/tmp:\r\n", "/tmp"),  # noqa: S108
        ("welcome\nmade:/tmp:\nbye\n", "/tmp"),  # noqa: S108
    ],
)
def test_a_folder_that_was_asked_for_is_taken(said: str, folder: str) -> None:
    found = _MADE.search(said)
    assert found is not None
    assert found.group(1) == folder


@pytest.mark.parametrize(
    "said",
    ["", "made:", "made::", "made:/etc:", "made:/tmp/../etc:", "made:/tmp", " made:/tmp:", "made:/tmp:x"],
)
def test_no_other_folder_is_taken(said: str) -> None:
    assert _MADE.search(said) is None


@pytest.mark.parametrize("token", ["", "x", "../" * 10, "0" * 31, "0" * 33, "$(id)" + "0" * 27, TOKEN + "\n"])
def test_nothing_but_a_token_is_part_of_the_command(token: str) -> None:
    with pytest.raises(ValueError, match="is no token"):
        receive(token)


def receiving(*folders: Path) -> str:
    """Return what receives an archive, into other folders."""
    command = receive(TOKEN)
    assert " in /var/tmp /tmp;" in command
    return command.replace(" in /var/tmp /tmp;", f" in {shlex.join(map(str, folders))};")


def test_what_receives_it_is_a_shell_alone(tmp_path: Path) -> None:
    content = os.urandom(100_000)
    here = receiving(tmp_path / "none", tmp_path)
    done = subprocess.run(["sh", "-c", here], input=content, capture_output=True, check=True)
    (folder,) = tmp_path.iterdir()
    assert done.stdout.decode() == f"made:{tmp_path}:\n"
    assert folder.name == f"p2p-release-{TOKEN}"
    assert (folder / NAME).read_bytes() == content
    assert folder.stat().st_mode & 0o7777 == 0o700
    assert (folder / NAME).stat().st_mode & 0o7777 == 0o600


def test_without_a_folder_to_write_to_it_is_not_received(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", receiving(tmp_path / "none")], input=b"", capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"No such file or directory" in done.stderr


def test_a_folder_that_is_there_already_is_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / f"p2p-release-{TOKEN}").mkdir()
    done = subprocess.run(["sh", "-c", receiving(tmp_path)], input=b"x", capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert list((tmp_path / f"p2p-release-{TOKEN}").iterdir()) == []


def test_nothing_is_left_where_there_was_no_room(tmp_path: Path) -> None:
    command = "ulimit -f 1; " + receiving(tmp_path)
    done = subprocess.run(["sh", "-c", command], input=b"x" * 5000, capture_output=True, check=False)
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []
