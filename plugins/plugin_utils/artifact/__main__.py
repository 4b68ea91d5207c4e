"""Builds artefacts for controllers that cannot, which take them by p2p_release_artifact: `make artifacts`."""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ansible.errors import AnsibleError
from ansible_collections.p2p.cluster.lookup_plugins.p2p_wheel import build
from ansible_collections.p2p.cluster.module_utils.p2p_digest import release_name

from .build import BuildError, Source, as_source
from .shelf import Shelf
from .supply import supply
from .target import PLATFORMS, Need, targets

PROJECT = Path(__file__).resolve().parents[3]
_PYTHON = re.compile(r"3\.[1-9][0-9]")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Tell what is wrong in one line, without the usage."""
        self.exit(2, f"error: {message}\n")


def _platform(word: str) -> str:
    if word not in PLATFORMS:
        raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(PLATFORMS)}")
    return word


def _python(word: str) -> str:
    if not _PYTHON.fullmatch(word):
        raise argparse.ArgumentTypeError(f"{word!r} is no minor version from 3.10 on, such as 3.11")
    return word


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m ansible_collections.p2p.cluster.plugins.plugin_utils.artifact",
        description="Build the artefacts of this checkout's release, as a deploy does, and print of each its"
        " path, its size in bytes and its digest.",
    )
    parser.add_argument(
        "--platform",
        type=_platform,
        action="append",
        help=f"one of {', '.join(PLATFORMS)}; may be given several times (linux-x86_64)",
    )
    parser.add_argument(
        "--python", type=_python, action="append", help="minor version; may be given several times (3.11)"
    )
    parser.add_argument(
        "--to", type=Path, default=PROJECT / "dist/artifacts", help="where they go (%(default)s)"
    )
    parser.add_argument(
        "--wheels", type=Path, help="folder of wheels to take in the place of the package index"
    )
    parser.add_argument(
        "--lock", type=Path, default=PROJECT / "requirements/node.txt", help="what of (%(default)s)"
    )
    return parser


def _source(lock: Path, wheels: Path | None) -> Source:
    """Return what a deploy builds of with this lock.

    Raises:
        BuildError: the lock cannot be read, or the program cannot be built.
    """
    try:
        # As p2p_release_lock has it, so that the release has the same name.
        text = lock.expanduser().read_text(encoding="utf-8").rstrip() + "\n"
        wheel = build(PROJECT / "orchestrator")
    except OSError as error:
        raise BuildError(f"--lock: {lock}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BuildError(f"--lock: {lock} is no text: {error}") from error
    except AnsibleError as error:
        raise BuildError(str(error)) from error
    spec = {"lock": text, "wheel": wheel, "files": []}
    return as_source(spec, release_name(spec, wheel["version"]), str(wheels or ""))


def _built(source: Source, platform: str, python: str, shelf: Shelf) -> bool:
    """Have one artefact and print its line, or why there is none."""
    try:
        kept = supply(source, Need(targets(PLATFORMS[platform]), python), shelf)
    except BuildError as error:
        why = str(error).replace("p2p_release_wheels", "--wheels")
        print(f"error: {platform}, Python {python}: {why}", file=sys.stderr)
        return False
    print(kept.path, kept.size, kept.digest, flush=True)
    return True


def main(words: Sequence[str] | None = None) -> int:
    """Build artefacts and return the exit code: 0 if all of them are there.

    Args:
        words: The command's arguments.
    """
    options = _parser().parse_args(words)
    try:
        source = _source(options.lock, options.wheels)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    wanted = itertools.product(options.platform or ["linux-x86_64"], options.python or ["3.11"])
    shelf = Shelf(options.to.expanduser().absolute())
    done = [_built(source, platform, python, shelf) for platform, python in dict.fromkeys(wanted)]
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
