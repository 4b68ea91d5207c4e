"""An archive fetched from a real server: it arrives whole, or nothing is left and one line says why."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from module_utils import p2p_download
from module_utils.p2p_artifact import ArtifactError
from module_utils.p2p_download import download

CONTENT = b"archive" * 50_000


class Handler(BaseHTTPRequestHandler):
    """Answers by the path that is asked for."""

    def do_GET(self) -> None:
        if self.path == "/gone":
            self.send_error(404)
        elif self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/whole")
            self.end_headers()
        elif self.path == "/round":
            self.send_response(302)
            self.send_header("Location", "/round")
            self.end_headers()
        elif self.path == "/local":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
        elif self.path == "/garbage":
            self.wfile.write(b"\x00\xffnothing\r\n\r\n")
        else:
            self.send_response(200)
            if self.path == "/drip":
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    for _ in range(100):
                        self.wfile.write(b"x")
                        self.wfile.flush()
                        time.sleep(0.1)
                return
            if self.path == "/packed":
                self.send_header("Content-Encoding", "gzip")
            if self.path != "/endless":
                more = 1000 if self.path == "/cut" else 0
                self.send_header("Content-Length", str(len(CONTENT) + more))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                for _ in range(100 if self.path == "/endless" else 1):
                    self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as the library calls it
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{running.server_address[1]}"
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy between this machine and itself."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def refused(url: str, folder: Path, largest: int = len(CONTENT)) -> str:
    """Return why a file cannot be had, in one line."""
    with pytest.raises(ArtifactError) as error:
        download(url, str(folder / "archive"), largest)
    assert list(folder.iterdir()) == []
    assert len(str(error.value).splitlines()) == 1
    assert str(error.value).startswith(url.replace("me:s3cret@", ""))
    return str(error.value)


@pytest.mark.parametrize("path", ["/whole", "/moved", "/packed"])
def test_what_is_there_arrives(server: str, tmp_path: Path, path: str) -> None:
    download(server + path, str(tmp_path / "archive"), len(CONTENT))
    assert (tmp_path / "archive").read_bytes() == CONTENT
    assert (tmp_path / "archive").stat().st_mode & 0o7777 == 0o600


def test_what_is_not_there_is_said(server: str, tmp_path: Path) -> None:
    assert refused(f"{server}/gone", tmp_path).endswith("cannot be fetched: HTTP Error 404: Not Found")


def test_what_is_too_large_is_left_at_once(server: str, tmp_path: Path) -> None:
    why = f"{server}/whole is larger than the {len(CONTENT) - 1} bytes of the archive"
    assert refused(f"{server}/whole", tmp_path, len(CONTENT) - 1) == why
    assert "is larger than" in refused(f"{server}/endless", tmp_path)


def test_what_ends_too_early_is_no_archive(server: str, tmp_path: Path) -> None:
    why = f"{server}/cut cannot be fetched: the last 1000 bytes are missing"
    assert refused(f"{server}/cut", tmp_path) == why


@pytest.mark.parametrize("path", ["/garbage", "/round", "/local"])
def test_a_server_that_says_something_else_is_named(server: str, tmp_path: Path, path: str) -> None:
    assert "cannot be fetched" in refused(server + path, tmp_path)


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/archive"
        assert "Connection refused" in refused(url, tmp_path)


@pytest.mark.parametrize("url", ["http://", "http://["])
def test_what_is_no_address_is_said(tmp_path: Path, url: str) -> None:
    assert "cannot be fetched" in refused(url, tmp_path)


@pytest.mark.parametrize("url", ["", "archive", "gopher://x/y", "file:///etc/hostname", "ftp://x/y"])
def test_nothing_but_the_web_is_asked(tmp_path: Path, url: str) -> None:
    assert refused(url, tmp_path) == f"{url} is no address of http or https"


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}/archive"
        why = refused(f"http://me:s3cret@{place}", tmp_path)
    assert why.startswith(f"http://{place} cannot be fetched: ")
    assert "s3cret" not in why


def test_a_server_that_takes_too_long_is_left(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(p2p_download, "LONGEST", 0.5)
    began = time.monotonic()
    assert "takes longer than 0.5 s" in refused(f"{server}/drip", tmp_path)
    assert time.monotonic() - began < 5


def test_nothing_that_is_there_is_written_over(server: str, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "archive").symlink_to(tmp_path / "mine")
    with pytest.raises(FileExistsError):
        download(f"{server}/whole", str(tmp_path / "archive"), len(CONTENT))
    assert (tmp_path / "mine").read_text() == "mine"
    assert os.path.lexists(tmp_path / "archive")
