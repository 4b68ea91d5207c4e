"""Small wheels, written by hand, and a lock that names them."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

ANY = "py3-none-any"


def wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    files: Mapping[str, str] | None = None,
    tag: str = ANY,
    needs: Iterable[str] = (),
    commands: Mapping[str, str] | None = None,
) -> Path:
    """Write a wheel into a folder.

    Args:
        folder: Where it goes.
        name: Of the distribution.
        version: Of it.
        files: Path -> text; a module of the distribution's name by default.
        tag: For which Python and platform.
        needs: What it requires.
        commands: Name -> function of its console scripts.
    """
    word = name.replace("-", "_")
    info = f"{word}-{version}.dist-info"
    inside = dict({f"{word}.py": f"NAME = {name!r}\n"} if files is None else files)
    required = "".join(f"Requires-Dist: {one}\n" for one in needs)
    inside[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{required}"
    inside[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: {tag}\n"
    if commands:
        lines = "".join(f"{command} = {function}\n" for command, function in commands.items())
        inside[f"{info}/entry_points.txt"] = f"[console_scripts]\n{lines}"
    rows = []
    for path, text in inside.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(text.encode())}")
    inside[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    written = folder / f"{word}-{version}-{tag}.whl"
    with zipfile.ZipFile(written, "w") as archive:
        for path, text in inside.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return written


def lock(*wheels: Path) -> str:
    """Return a lock that names each of some wheels with its hash."""
    hashes: dict[str, list[str]] = {}
    for path in wheels:
        name, version = path.name.split("-")[:2]
        hashes.setdefault(f"{name}=={version}", []).append(hashlib.sha256(path.read_bytes()).hexdigest())
    return "".join(
        f"{name}" + "".join(f" \\\n    --hash=sha256:{one}" for one in found) + "\n"
        for name, found in hashes.items()
    )


def program(path: Path) -> dict[str, str]:
    """Return a wheel in the form that the lookup p2p_wheel gives."""
    content = path.read_bytes()
    return {
        "filename": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "content": base64.b64encode(content).decode(),
    }
