"""Text of any origin made harmless for where it goes: one function for each place, and all of them are here.

None of them raises on any text, and none needs to know where the text comes from.
"""

from __future__ import annotations

import re
import shlex
from html import escape
from json import dumps

# What a terminal, an editor or a browser obeys or hides in place of showing it: controls but newline and tab,
# format characters (category Cf: directions, zero widths, tags), what else is ignored by default, lone
# surrogates, and the separators of lines and paragraphs.
_UNSEEN = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160"
    "\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "]"
)
# A backslash before one of these takes its meaning away, wherever it stands in a line of Markdown.
_MARKS = re.compile(
    r"[\\`*\[\]<>#|~$&]"
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # within a word it means nothing
    r"|:(?=/)|/(?=/)|(?<=/)/"  # http://, and //host
    r"|(?<=[Ww]{3})\.|\.(?=[^\W\d])"  # www., and a name of a domain
)
_LINE_START = re.compile(r"\A(?P<number>\d*)(?P<mark>(?<!\d)[-+=:]|(?<=\d)[.)](?=\s|\Z))")
_BACKTICKS = re.compile("`+")
_PIECE = re.compile(r"[^\s|]+|\|")


def terminal(text: str) -> str:
    r"""Return a text in which all that a terminal would obey or hide is a visible escape such as `\x1b`.

    Newlines and tabs stay; a Windows line ends with a newline.
    """
    return _UNSEEN.sub(_seen, text.replace("\r\n", "\n"))


def _seen(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004  # the escapes' lengths


def line(text: str) -> str:
    """Return a text for a terminal on one line, so that it cannot pose as a line of ours."""
    return terminal(" ".join(text.split()))


def paragraph(text: str) -> str:
    """Return a text for a terminal whose further lines are indented, so that none poses as a line of ours."""
    return "\n  ".join(terminal(text).splitlines())


def shell(word: str) -> str:
    """Return a text as one word of a POSIX shell, on one line.

    What the word means to the command that gets it is the command's: one that begins with `-` is an option
    unless `--` stands before it.
    """
    return shlex.quote(terminal(word).replace("\n", r"\x0a").replace("\t", r"\x09"))


def html(value: object) -> str:
    """Return a value as the text of an HTML element, or of an attribute between quotes."""
    return escape(terminal(str(value)), quote=True)


def markdown(text: str) -> str:
    """Return a text as plain words on one line of Markdown, also in a cell of a table.

    It makes no link, picture, emphasis, heading, list, cell or HTML; a word with an `@` is shown as code.
    """
    told = _PIECE.sub(_plain, " ".join(terminal(text).split()))
    return _LINE_START.sub(_no_list, told)


def _plain(found: re.Match[str]) -> str:
    piece = found.group()
    # No escape keeps a renderer from making a link of an address, or a mention.
    return code_span(piece) if "@" in piece else _MARKS.sub(r"\\\g<0>", piece)


def _no_list(found: re.Match[str]) -> str:
    return f"{found['number']}\\{found['mark']}"


def code_span(text: str) -> str:
    """Return a text as code within a line of Markdown, also in a cell of a table; a bar in it divides it."""
    return r"\|".join(_code(part) for part in " ".join(terminal(text).split()).split("|"))


def _code(text: str) -> str:
    if not text.strip():
        return text
    fence = "`" * (_longest_fence(text) + 1)
    space = " " if text[0] == "`" or text[-1] == "`" or (text[0] == text[-1] == " ") else ""
    return f"{fence}{space}{text}{space}{fence}"


def code_block(text: str, indent: int = 0, language: str = "bash") -> str:
    """Return commands as a block of Markdown that they cannot leave, `indent` columns to the right."""
    fence = "`" * max(3, _longest_fence(text) + 1)
    lines = [f"{fence}{language}", *terminal(text).split("\n"), fence]
    return "\n".join(f"{' ' * indent}{one}" for one in lines)


def _longest_fence(text: str) -> int:
    return max(map(len, _BACKTICKS.findall(text)), default=0)


def prometheus(label: str) -> str:
    """Return a text as the value of a label, between the quotes of Prometheus' text format."""
    return terminal(label).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def json(value: object) -> str:
    """Return a value as JSON that every parser reads and that can be shown on a terminal.

    A lone surrogate, which is no text, becomes the visible escape that a terminal gets.

    Raises:
        ValueError: A number in it is not finite.
    """
    return _UNSEEN.sub(_escaped, dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


def _escaped(found: re.Match[str]) -> str:
    code = ord(found.group())
    if 0xD800 <= code <= 0xDFFF:  # noqa: PLR2004  # the surrogates
        return f"\\\\u{code:04x}"
    units = found.group().encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
