"""Releases unpacked on a real node: what goes wrong on the way, what it costs, and the way back."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lookup_plugins.p2p_wheel import build
from tests.integration.modules.conftest import PROJECT, Node
from tests.integration.modules.made import MINOR, Real, sent, small
from tests.support.artifacts import FILES
from tests.support.no_index import of_containers

ROOT = "/opt/p2p-other"
NAME = "1.0-a"
# Everything that a run which changes nothing leaves as it is, in times that nobody can set.
STATE = "find /opt /etc /root -xdev -printf '%y %m %U %G %s %i %C@ %p %l\\n' | sort"
LEFT = "ls -d /var/tmp/p2p-* /tmp/p2p-* 2>/dev/null || true"  # looked at alone
# In the place of the node's Python: writes down what the real one, and all that it starts, takes.
MEASURING = r"""#!/usr/bin/python3
import json, os, resource, subprocess, sys
code = subprocess.call(["/usr/bin/python3", *sys.argv[1:]])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open("/root/used", "a") as handle:
    handle.write(json.dumps(used.ru_utime + used.ru_stime) + "\n")
sys.exit(code)
"""
# A release as earlier versions made it, with pip: its manifest tells of no artefact.
BY_PIP = r"""
release=/opt/p2p-other/releases/0.9-old; site=$release/venv/lib/python3.11/site-packages
mkdir -p $release/venv/bin $site/tiny $site/tiny-0.9.dist-info
ln -s /usr/bin/python3 $release/venv/bin/python3
ln -s python3 $release/venv/bin/python
printf 'home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\n' > $release/venv/pyvenv.cfg
echo 'VALUE = 0' > $site/tiny/__init__.py
printf 'Metadata-Version: 2.1\nName: tiny\nVersion: 0.9\n' > $site/tiny-0.9.dist-info/METADATA
printf 'tiny/__init__.py,,\ntiny-0.9.dist-info/METADATA,,\n' > $site/tiny-0.9.dist-info/RECORD
cat > $release/manifest.json <<'END'
{"created_at": 1000000000.0, "files": [], "lock_sha256": "00", "markers": {}, "name": "0.9-old",
 "packages": {"tiny": "0.9"}, "python": "/usr/bin/python3", "records": {"tiny": "00"}, "scripts": {},
 "seal": "00", "wheel": null}
END
ln -sfn releases/0.9-old /opt/p2p-other/current
"""
VALUE = f"cd /; {ROOT}/current/venv/bin/python -I -c 'import tiny; print(tiny.VALUE)'"


@pytest.fixture(autouse=True)
def other_root(node: Node) -> Iterator[None]:
    """A root of its own for each test, and nothing left of any archive after it."""
    yield
    node.sh(f"rm -rf {ROOT}")
    assert node.sh(LEFT) == ""


def release(node: Node, artifact: Mapping[str, Any], *, check_mode: bool = False, **changes: Any) -> Any:
    """Run the module for a release of an artefact."""
    given: dict[str, Any] = {"root": ROOT, "name": NAME, "artifact": artifact, "min_free_mb": 50, **changes}
    return node.module("p2p_release", check_mode=check_mode, **given)


def drift(node: Node, artifact: Mapping[str, Any], name: str = NAME) -> Any:
    """Return what the probe finds of a release that is wanted."""
    known = {f"{artifact['target']}/{artifact['python']}": artifact["digest"]}
    wanted = {"root": ROOT, "name": name, "artifacts": known, "files": list[Any](), "python": None}
    return node.module("p2p_probe", root=ROOT, wanted={"release": wanted})["probe"]["drift"]


def releases(node: Node) -> str:
    """Return which releases are there, and which is current."""
    return node.sh(f"cd {ROOT}; ls releases | tr '\\n' ' '; readlink current || echo none")


def test_the_node_reaches_no_package_index(node: Node) -> None:
    assert of_containers([node.name]) == {}


def test_a_preview_and_a_second_run_change_nothing(node: Node, tmp_path: Path) -> None:
    given = small(tmp_path, NAME)
    before = node.sh(STATE)
    foretold = release(node, given, check_mode=True)
    assert foretold["changed"]
    assert node.sh(STATE) == before
    done = release(node, given)
    assert done["actions"] == foretold["actions"]
    assert done["packages"] == foretold["packages"]
    assert node.sh(VALUE) == "1"
    after = node.sh(STATE)
    assert not release(node, given)["changed"]
    assert not release(node, given, check_mode=True)["changed"]
    assert node.sh(STATE) == after
    assert drift(node, given) == []


@pytest.mark.parametrize("damage", ["digest", "truncated", "flipped", "another release"])
def test_an_archive_that_is_not_the_artefact_is_refused(node: Node, tmp_path: Path, damage: str) -> None:
    first = small(tmp_path, NAME)
    assert release(node, first)["changed"]
    second = small(tmp_path, "1.0-b", {**FILES, "other.py": "VALUE = 3\n" * 5000})
    archive = Path(second["path"])
    content = archive.read_bytes()
    if damage == "digest":
        second = {**second, "digest": "0" * 64}
    elif damage == "another release":
        second = {**first, "digest": second["digest"]}
    else:
        middle = len(content) // 2
        cut = content[:middle] if damage == "truncated" else _flipped(content, middle)
        archive.write_bytes(cut)
        second = sent(second, archive)
    answer = release(node, second, name="1.0-b")
    assert answer["failed"], answer
    assert "release 1.0-b was not made, what ran still runs: " in answer["msg"]
    words = {"digest": "it has the digest", "another release": "it has the digest"}
    assert words.get(damage, "it is damaged") in answer["msg"]
    assert releases(node) == f"{NAME} releases/{NAME}"
    assert drift(node, first) == []


def _flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_an_archive_that_was_changed_here_is_not_sent(node: Node, tmp_path: Path) -> None:
    given = small(tmp_path, NAME)
    Path(given["path"]).write_bytes(b"x")
    answer = release(node, given)
    assert answer["failed"]
    assert "was changed after it was built: remove it and run again" in answer["msg"]
    assert node.sh(f"ls -d {ROOT}/releases/* 2>/dev/null || true") == ""


def test_what_does_not_run_on_the_node_is_not_made(node: Node, tmp_path: Path) -> None:
    broken = small(tmp_path, NAME, {**FILES, "tiny/fast.so": "no library"})
    answer = release(node, broken)
    assert "does not run on this node" in answer["msg"]
    assert "fast.so" in answer["msg"]
    answer = release(node, small(tmp_path, NAME, python="3.9"))
    assert "no Python 3.9 found, which the packages are for" in answer["msg"]
    answer = release(node, small(tmp_path, NAME, python="3.9"), python="/usr/bin/python3")
    assert "/usr/bin/python3 is 3.11" in answer["msg"]
    assert node.sh(f"ls -d {ROOT}/releases/* 2>/dev/null || true") == ""


def test_a_killed_run_is_cleaned_up_by_the_next(node: Node, tmp_path: Path) -> None:
    slow = "import os, time\nwhile os.path.exists('/root/slow'): time.sleep(0.1)\n"
    given = small(tmp_path, NAME, {**FILES, "tiny/__init__.py": slow})
    node.sh("touch /root/slow")
    run = threading.Thread(target=release, args=(node, given))
    run.start()
    # While it is tried it is unpacked, and has no manifest yet.
    trying = f"pgrep -f '^{ROOT}/releases/{NAME}/venv/bin/python'"
    node.sh(f"for i in $(seq 600); do {trying} && break; sleep 0.1; done")
    node.sh(f"child=$({trying}); kill -9 $(ps -o ppid= -p $child) $child; rm /root/slow")
    # What Ansible itself leaves of a module that is killed.
    node.sh("rm -rf /tmp/ansible_p2p_release_payload_*")
    run.join(120)
    assert node.sh(f"ls {ROOT}/releases/{NAME}").split() == ["artifact.json", "venv"]
    node.sh(f"mkdir -p {ROOT}/releases/1.0-x/venv/lib; rm -rf /var/tmp/p2p-release-*")
    answer = release(node, given)
    assert answer["actions"][:2] == ["remove the unfinished release 1.0-x", f"build release {NAME}"]
    assert releases(node) == f"{NAME} releases/{NAME}"
    assert drift(node, given) == []
    assert not release(node, given)["changed"]


def test_a_full_disk_is_refused(node: Node, tmp_path: Path) -> None:
    node.sh("mkdir -p /opt/tiny; mount -t tmpfs -o size=8m tmpfs /opt/tiny")
    try:
        for check in (True, False):
            answer = release(
                node, small(tmp_path, NAME), check_mode=check, root="/opt/tiny/p2p", min_free_mb=300
            )
            assert "only 8 MB are free below /opt/tiny and a release needs 300" in answer["msg"]
        assert node.sh("ls /opt/tiny") == ""
    finally:
        node.sh("umount /opt/tiny; rmdir /opt/tiny")


def test_a_disk_that_fills_up_meanwhile_leaves_what_ran(node: Node, tmp_path: Path) -> None:
    node.sh("mkdir -p /opt/tiny; mount -t tmpfs -o size=8m tmpfs /opt/tiny")
    try:
        first = small(tmp_path, NAME)
        assert release(node, first, root="/opt/tiny/p2p", min_free_mb=1)["changed"]
        # Of a megabyte and a half in the archive's place few kilobytes.
        big = small(tmp_path, "1.0-b", {**FILES, "tiny/data.txt": "x" * (12 << 20)})
        answer = release(node, big, root="/opt/tiny/p2p", name="1.0-b", min_free_mb=1)
        assert "the disk below /opt/tiny/p2p is full: free space there" in answer["msg"]
        assert node.sh("cd /opt/tiny/p2p; ls releases; readlink current") == f"{NAME}\nreleases/{NAME}"
    finally:
        node.sh("umount /opt/tiny; rmdir /opt/tiny")


def test_what_a_clock_says_plays_no_part(node: Node, tmp_path: Path) -> None:
    given = small(tmp_path, NAME)
    with tarfile.open(given["path"]) as archive:
        assert {member.mtime for member in archive} == {315532800}
    assert release(node, given)["changed"]
    for day in ("1970-01-02", "2099-01-01"):
        node.sh(f"find {ROOT}/current/ -exec touch -h -d {day} '{{}}' +")
        assert drift(node, given) == []
        assert node.sh(VALUE) == "1"
        assert not release(node, given)["changed"]
    # A module that is newer than its bytecode, or older, is not compiled again.
    compiled = node.sh(f"find {ROOT}/current/ -name '*.pyc' -printf '%p %C@\\n' | sort")
    node.sh(f"find {ROOT}/current/ -name '*.py' -exec touch '{{}}' +; {VALUE}")
    assert node.sh(f"find {ROOT}/current/ -name '*.pyc' -printf '%p %C@\\n' | sort") == compiled


@pytest.fixture
def server(node: Node) -> Iterator[str]:
    """A web server on the node's network: its container, which serves what lies in `/srv`."""
    name = f"{node.name}-web"
    image = subprocess.run(
        ["docker", "inspect", "-f", "{{.Config.Image}}", node.name],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    words = ["docker", "run", "-d", "--rm", "--name", name, "--network", node.name, image]
    words += ["python3", "-m", "http.server", "--directory", "/srv", "80"]
    subprocess.run(words, check=True, capture_output=True)
    try:
        ready = f"until python3 -c 'import socket; socket.create_connection((\"{name}\", 80))' 2>/dev/null"
        node.sh(f"timeout 60 bash -c {_quoted(ready + '; do sleep 0.1; done')}")
        yield name
    finally:
        subprocess.run(["docker", "rm", "-f", name], check=False, capture_output=True)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def served(server: str, archive: Path, name: str = "a.tar.xz") -> str:
    """Put a file on the server, and return its URL."""
    subprocess.run(["docker", "cp", str(archive), f"{server}:/srv/{name}"], check=True, capture_output=True)
    return f"http://{server}/{name}"


def test_an_archive_is_fetched_from_a_web_server(node: Node, server: str, tmp_path: Path) -> None:
    given = small(tmp_path, NAME)
    url = served(server, Path(given["path"]))
    Path(given["path"]).unlink()  # nothing can be sent from here
    answer = release(node, given, url=url)
    assert answer["changed"], answer
    assert "the controller sent" not in " ".join(answer["said"].split())
    assert drift(node, given) == []
    assert node.sh(f"ls -A {ROOT}").split() == [".lock", "current", "releases"]


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        ("other bytes", "it is damaged"),
        ("another artefact", "it has the digest"),
        ("not there", "HTTP Error 404"),
        ("endless", "is larger than the"),
        ("nobody listens", "cannot be fetched"),
    ],
)
def test_what_the_web_server_does_not_give_the_controller_sends(
    node: Node, server: str, tmp_path: Path, trouble: str, why: str
) -> None:
    given, wrong = small(tmp_path, NAME), tmp_path / "wrong"
    if trouble == "another artefact":
        shutil.copy(small(tmp_path, "1.0-b")["path"], wrong)
    else:
        wrong.write_bytes(b"x" * (100 << 20 if trouble == "endless" else 100))
    url = served(server, wrong)
    url = {"not there": f"http://{server}/none", "nobody listens": f"http://{server}:81/a.tar.xz"}.get(
        trouble, url
    )
    answer = release(node, given, url=url)
    assert answer["changed"], answer
    said = " ".join(answer["said"].split())
    assert "the controller sent the archive, which the node did not get from p2p_release_url: " in said
    assert why in said
    assert drift(node, given) == []
    assert node.sh(f"ls -A {ROOT}").split() == [".lock", "current", "releases"]


def test_back_to_a_release_that_pip_made_and_forward_again(node: Node, tmp_path: Path) -> None:
    given = small(tmp_path, NAME)
    node.sh(BY_PIP)
    assert node.sh(VALUE) == "0"
    foretold = release(node, given, check_mode=True)
    answer = release(node, given)
    assert (answer["actions"], answer["previous"]) == (foretold["actions"], "0.9-old")
    assert node.sh(VALUE) == "1"
    back = node.module("p2p_release", root=ROOT, state="active")
    assert (back["release"], back["previous"], back["packages"]) == ("0.9-old", NAME, {"tiny": "0.9"})
    assert node.sh(VALUE) == "0"
    found = node.module("p2p_probe", root=ROOT)["probe"]["release"]
    assert (found["name"], found["manifest"]["packages"]) == ("0.9-old", {"tiny": "0.9"})
    assert node.module("p2p_release", root=ROOT, state="active", name=NAME)["changed"]
    assert node.sh(VALUE) == "1"
    assert drift(node, given) == []


@pytest.fixture(scope="module")
def real(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Real:
    """Return who builds the real release."""
    lock = (PROJECT / "requirements/node.txt").read_text()
    return Real(tmp_path_factory.mktemp("shelf"), lock, node.module("p2p_probe")["probe"])


@pytest.fixture
def newer(tmp_path: Path) -> dict[str, str]:
    """Return the wheel of a program that differs in one file."""
    folder = tmp_path / "orchestrator"
    shutil.copytree(PROJECT / "orchestrator", folder)
    with (folder / "src/p2p_orchestrator/__init__.py").open("a") as handle:
        handle.write("# another\n")
    return build(folder)


def used(node: Node, artifact: Mapping[str, Any], name: str) -> float:
    """Make a release and return what it took on the node, in seconds of processor."""
    node.sh(f"rm -f /root/used; cat > /root/measuring <<'END'\n{MEASURING}END\nchmod 755 /root/measuring")
    interpreter = {"ansible_python_interpreter": "/root/measuring"}
    began = time.monotonic()
    answer = release(node, artifact, name=name, variables=interpreter)
    took = time.monotonic() - began
    assert answer["changed"], answer
    spent = sum(json.loads(line) for line in node.sh("cat /root/used").splitlines())
    print(f"{name}: {spent:.2f} s of the node's processor, {took:.1f} s with Ansible")
    return float(spent)


COMPILING = """
import compileall, shutil, sys, tempfile, time
with tempfile.TemporaryDirectory() as folder:
    shutil.copytree(sys.argv[1], folder + "/lib")
    began = time.process_time()
    assert compileall.compile_dir(folder + "/lib", force=True, quiet=2)
    print(time.process_time() - began)
"""


def compiling(node: Node, name: str) -> float:
    """Return what it takes the node to compile a release, in seconds of processor: its own speed, now."""
    node.sh(f"cat > /root/compiling.py <<'END'\n{COMPILING}END")
    return float(node.sh(f"python3 /root/compiling.py {ROOT}/releases/{name}/venv/lib"))


def test_what_a_release_takes_on_a_node(node: Node, real: Real, newer: dict[str, str]) -> None:
    first = real.release("1.0-one", build(PROJECT / "orchestrator"))
    whole = used(node, first._asdict(), "1.0-one")
    unit = compiling(node, "1.0-one")
    print(f"compiling alone: {unit:.2f} s")
    assert whole < 4 * unit
    assert drift(node, first._asdict(), "1.0-one") == []
    second = real.release("1.0-two", newer)
    part = real.since(second, first)
    size = Path(part["since"]["path"]).stat().st_size
    print(f"whole {second.size} bytes, what one file differs in {size}")
    assert size < 200_000
    # The whole one cannot be sent.
    assert used(node, {**part, "path": "/nowhere"}, "1.0-two") < 3 * unit
    assert drift(node, part, "1.0-two") == []
    assert (
        node.sh(f"cd {ROOT}; diff -r releases/1.0-one/venv/lib releases/1.0-two/venv/lib || true").count("\n")
        < 10
    )


def test_a_node_whose_running_release_was_damaged_gets_the_whole_one(
    node: Node, real: Real, newer: dict[str, str]
) -> None:
    first = real.release("1.0-one", build(PROJECT / "orchestrator"))
    assert release(node, first._asdict(), name="1.0-one")["changed"]
    node.sh(f"echo >> {ROOT}/current/venv/lib/python{MINOR}/site-packages/aiohttp/web.py")
    part = real.since(real.release("1.0-two", newer), first)
    answer = release(node, {**part, "path": "/nowhere"}, name="1.0-two")
    assert answer["failed"]
    assert releases(node) == "1.0-one releases/1.0-one"
    assert release(node, part, name="1.0-two")["changed"]
    assert drift(node, part, "1.0-two") == []
    assert node.sh(f"find {ROOT}/releases/1.0-two -name '*.new'") == ""
