"""A value of the fleet file as one word: of a shell, or of a unit that systemd reads."""

from __future__ import annotations

import re
import shlex
from typing import Any

_HOME = re.compile(r"(~[A-Za-z0-9_][A-Za-z0-9_.-]*|~)(/|$)")


def shell_path(path: str) -> str:
    """Return a path as one word of a shell, in which `~` and `~user` stay the home that they are.

    Args:
        path: Any text without NUL.
    """
    home = _HOME.match(path)
    if home is None:
        return shlex.quote(path)
    rest = path[home.end() :]
    return home[0] + (shlex.quote(rest) if rest else "")


def systemd_word(text: str) -> str:
    """Return a text as one word of a command in a unit, as which systemd hands it on unchanged.

    Args:
        text: One line.

    Raises:
        ValueError: It is more than one line.
    """
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError(f"{text!r} cannot be a word of a unit")
    text = text.replace("%", "%%").replace("$", "$$")
    if "'" not in text and "\\" not in text:
        return f"'{text}'"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class FilterModule:
    """Filters about words."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"p2p_shell_path": shell_path, "p2p_systemd_word": systemd_word}
