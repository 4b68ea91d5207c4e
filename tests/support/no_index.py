"""Whether a test's node could fetch a package: it is asked from inside, and tries.

What is tried is a connection to each place that this machine's own pip and uv would ask, and to their
proxies.
"""

from __future__ import annotations

import configparser
import functools
import json
import os
import re
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pip._internal.models.index import PyPI

# A node is given some times as long as this machine takes itself for the same connection.
_LEAST, _TIMES, _MOST = 0.4, 4.0, 3.0
_VARIABLES = (
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_PROXY"),
    *("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
)
_OPTIONS = ("index-url", "extra-index-url", "find-links", "proxy")
_URL = re.compile(r"(?:https?|socks\w*)://[^\s\"',]+")
# Tries all at the same time, since what is dropped on its way is never answered.
_TRY = r"""
import errno, json, os, re, selectors, socket, time

def reached(targets, seconds):
    found, waiting, began = {}, selectors.DefaultSelector(), time.monotonic()
    for host, port in targets:
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            one = socket.socket(family, kind)
            one.setblocking(False)
            # What fails at once is told here and never again.
            if one.connect_ex(address) in (0, errno.EINPROGRESS):
                waiting.register(one, selectors.EVENT_WRITE, "%s port %d" % (host, port))
        except OSError:
            pass
    while waiting.get_map() and time.monotonic() < began + seconds:
        for key, _ in waiting.select(began + seconds - time.monotonic()):
            waiting.unregister(key.fileobj)
            if key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                found[key.data] = time.monotonic() - began
            key.fileobj.close()
    return found
"""
_INSIDE = r"""
targets, seconds = json.loads(GIVEN)
for name, value in os.environ.items():
    found = re.match(r"(?:\w+://)?(?:[^@/]*@)?([^:/]+):(\d+)", value)
    if found and name.lower().endswith("_proxy"):
        targets.append([found.group(1), int(found.group(2))])
print(json.dumps(sorted(reached(targets, seconds))))
"""


def settings(environment: Mapping[str, str], files: Iterable[Path]) -> list[str]:
    """Return what pip and uv are told of indexes and proxies; a value may hold several URLs."""
    upper = {name.upper(): value for name, value in environment.items()}
    values = [upper[name] for name in _VARIABLES if upper.get(name)]
    for path in files:
        found = configparser.RawConfigParser(strict=False)
        try:
            found.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        values += [found[part][name] for part in found.sections() for name in _OPTIONS if name in found[part]]
    return values


def _files() -> list[Path]:
    given = [Path(os.environ["PIP_CONFIG_FILE"])] if os.environ.get("PIP_CONFIG_FILE") else []
    home = Path.home()
    return [*given, Path("/etc/pip.conf"), home / ".config/pip/pip.conf", home / ".pip/pip.conf"]


def targets(urls: Iterable[str]) -> list[tuple[str, int]]:
    """Return where a connection would go, host and port, for URLs; each host by its addresses, too.

    A node that has no way to ask for names may have one to an address.
    """
    found: dict[tuple[str, int], None] = {}
    for url in urls:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        if host is None:
            continue
        addresses = _addresses(host, port)
        # A proxy of this machine's own is not one of the node's.
        if not any(address.startswith("127.") or address == "::1" for address in addresses):
            found |= dict.fromkeys((address, port) for address in addresses)
    return list(found)


def _addresses(host: str, port: int) -> list[str]:
    try:
        return sorted({str(item[4][0]) for item in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except OSError:
        return []


def _tried(targets: Iterable[tuple[str, int]], program: str, prefix: Sequence[str], seconds: float) -> Any:
    given = json.dumps([list(targets), seconds])
    done = subprocess.run(
        [*prefix, "python3", "-"],
        input=f"GIVEN = {given!r}\n{_TRY}{program}",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@functools.cache
def _asked() -> tuple[list[tuple[str, int]], float]:
    """Return where pip and uv of this machine go, and how long a node is given to get there."""
    told = [url for value in settings(os.environ, _files()) for url in _URL.findall(value)]
    places = targets([*told, PyPI.simple_url])
    took = _tried(places, "print(json.dumps(reached(*json.loads(GIVEN))))", (), _MOST)
    return places, min(_MOST, max(_LEAST, *(_TIMES * each for each in took.values()), _LEAST))


def ways_out(*prefix: str, asked: Iterable[tuple[str, int]] | None = None) -> list[str]:
    """Return the ways by which a node could reach a package index, each in words; nothing where it could not.

    Args:
        prefix: The command that runs another on the node, such as `docker exec -i <node>` or ssh.
        asked: Host and port of what is tried; by default where pip and uv of this machine go.
    """
    places, seconds = (asked, _LEAST) if asked is not None else _asked()
    found: list[str] = _tried(places, _INSIDE, prefix, seconds)
    return found


def of_containers(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the same for each of some containers that has a way."""
    listed = list(names)
    _asked()
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda name: ways_out("docker", "exec", "-i", name), listed)
        return {name: ways for name, ways in zip(listed, found, strict=True) if ways}
