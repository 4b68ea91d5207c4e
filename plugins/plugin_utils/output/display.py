"""Ansible's display for what nodes may have said: nothing that it is given controls the terminal."""

from __future__ import annotations

import inspect
from types import FunctionType, MethodType
from typing import Any

from ansible.utils.display import Display

from .escape import terminal

# Characters of a warning.
MOST = 4000


class Painted(str):
    """A text that was escaped before it got its colours."""

    __slots__ = ()


def _cut(text: str) -> str:
    """Return a warning, which may repeat a node, no longer than is read and with one line at the margin."""
    if not text.startswith("[WARNING]"):
        return text
    told = "\n  ".join(text[:MOST].splitlines())
    return f"{told}… ({len(text) - MOST} more characters)" if len(text) > MOST else told


class EscapedDisplay:
    """A display that prints on another one; `real` is that one.

    Whatever else prints there, such as a banner or a warning, prints through `display` here.

    Args:
        real: Ansible's display.
    """

    def __init__(self, real: Display) -> None:
        self.real = real

    def display(  # noqa: PLR0917  # as Ansible's
        self,
        msg: str,
        color: str | None = None,
        stderr: bool = False,
        screen_only: bool = False,
        log_only: bool = False,
        newline: bool = True,
        caplevel: int | None = None,
    ) -> None:
        """Print a text in which every control character is shown; arguments as Ansible's display has them."""
        told = str(msg) if isinstance(msg, Painted) else terminal(_cut(msg))
        self.real.display(told, color, stderr, screen_only, log_only, newline, caplevel)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever is there
        """Return what the real display has under a name, its methods bound to this one."""
        found = inspect.getattr_static(type(self.real), name, None)
        return MethodType(found, self) if isinstance(found, FunctionType) else getattr(self.real, name)
