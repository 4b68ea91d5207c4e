"""Which packages a lock asks for on this node: requirements and their environment markers.

Markers follow the dependency specifiers of https://packaging.python.org/en/latest/specifications/dependency-specifiers/,
the part of it that resolvers write into locks.
"""

from __future__ import annotations

import re
from typing import Callable, Dict, List, Mapping, Sequence, Tuple

_TOKEN = re.compile(
    r"\s*(?:(?P<op><=|>=|==|!=|~=|<|>|\(|\))|(?P<text>'[^']*'|\"[^\"]*\")|(?P<word>[A-Za-z_][A-Za-z0-9_.]*))"
)
_VERSIONS = ("python_version", "python_full_version", "implementation_version")


class MarkerError(ValueError):
    """A marker that is not understood."""


def normal_name(name: str) -> str:
    """Return a package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _release(version: str) -> Tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    if not match:
        raise MarkerError("version %r in a marker" % version)
    numbers = [int(part) for part in match.group().split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _compare_versions(left: str, op: str, right: str) -> bool:
    if right.endswith(".*") and op in ("==", "!="):
        wanted = [int(part) for part in right[:-2].split(".")]
        found = (list(_release(left)) + [0] * len(wanted))[: len(wanted)]
        return (found == wanted) == (op == "==")
    a, b = _release(left), _release(right)
    if op == "~=":
        parts = right.split(".")[:-1]
        return a >= b and _compare_versions(left, "==", ".".join(parts) + ".*")
    return {"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[op]


def _compare_text(left: str, op: str, right: str) -> bool:
    tests: Dict[str, Callable[[], bool]] = {
        "==": lambda: left == right,
        "!=": lambda: left != right,
        "in": lambda: left in right,
        "not in": lambda: left not in right,
    }
    if op not in tests:
        raise MarkerError("%r between the texts %r and %r in a marker" % (op, left, right))
    return tests[op]()


class _Marker:
    """A recursive descent over one marker's tokens."""

    def __init__(self, text: str, environment: Mapping[str, str]) -> None:
        self.text, self.environment, self.tokens, self.at = text, environment, self._split(text), 0

    @staticmethod
    def _split(text: str) -> List[str]:
        tokens, at = [], 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if not match:
                raise MarkerError("marker %r is not understood at %r" % (text, text[at:]))
            tokens.append(match.group().strip())
            at = match.end()
        return tokens

    def _peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise MarkerError("marker %r ends too early" % self.text)
        self.at += 1
        return token

    def value(self) -> bool:
        """Return what the whole marker comes to."""
        answer = self._either()
        if self._peek():
            raise MarkerError("marker %r has %r left over" % (self.text, self._peek()))
        return answer

    def _either(self) -> bool:
        answer = self._both()
        while self._peek() == "or":
            self._next()
            other = self._both()
            answer = answer or other
        return answer

    def _both(self) -> bool:
        answer = self._one()
        while self._peek() == "and":
            self._next()
            other = self._one()
            answer = answer and other
        return answer

    def _one(self) -> bool:
        if self._peek() == "(":
            self._next()
            answer = self._either()
            if self._next() != ")":
                raise MarkerError("marker %r lacks a closing parenthesis" % self.text)
            return answer
        left_name, left = self._operand()
        op = self._next()
        if op == "not":
            op += " " + self._next()
        right_name, right = self._operand()
        if (left_name or right_name) in _VERSIONS and op not in ("in", "not in"):
            return _compare_versions(left, op, right)
        return _compare_text(left, op, right)

    def _operand(self) -> Tuple[str, str]:
        token = self._next()
        if token[0] in "'\"":
            return "", token[1:-1]
        if token == "extra":  # noqa: S105  a word of the grammar
            return token, ""
        if token not in self.environment:
            raise MarkerError(
                "marker %r asks for %r, which is no part of an environment" % (self.text, token)
            )
        return token, self.environment[token]


def marker_holds(marker: str, environment: Mapping[str, str]) -> bool:
    """Tell whether an environment marker holds.

    Args:
        marker: such as `python_full_version < '3.11' and sys_platform == 'linux'`.
        environment: the variables of the interpreter that packages are for.

    Raises:
        MarkerError: if it is not understood.
    """
    return _Marker(marker, environment).value()


def packages_for(requirements: Sequence[str], environment: Mapping[str, str]) -> Dict[str, str]:
    """Return name (normalised) -> version of what a lock installs into an environment.

    Args:
        requirements: `name==version[ ; marker]`, as `p2p_digest.compact_lock` makes them.
        environment: the marker variables of the interpreter.

    Raises:
        MarkerError: if a line is not a pinned requirement.
    """
    packages: Dict[str, str] = {}
    for line in requirements:
        requirement, _, marker = line.partition(";")
        match = re.fullmatch(r"\s*([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*==\s*([^\s,]+)\s*", requirement)
        if not match:
            raise MarkerError("%r is not a pinned requirement (name==version) of the lock" % line)
        if not marker.strip() or marker_holds(marker.strip(), environment):
            packages[normal_name(match.group(1))] = match.group(2)
    return packages
