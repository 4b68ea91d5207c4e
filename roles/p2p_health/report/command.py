"""Where a command of the shell may be broken over lines and is still the same command."""

from __future__ import annotations

from collections.abc import Sequence

# A character, and where it stands in the command if a line may end there: -1 if not.
Placed = tuple[str, int]
# What runs its last word as commands of its own.
_SHELLS = ("ssh", "node-ssh", "sh")
_WITH_VALUE = ("-o", "-i", "-f", "-p")


def pieces(command: str) -> list[str]:
    """Return a command in pieces; a space between two of them may have a backslash and a line end behind it.

    No piece ends within quotes, unless it is the commands that ssh hands to the shell of a node: that shell
    joins lines as well, where they have no quotes of their own.
    """
    places, words = _split([(char, at) for at, char in enumerate(command)])
    program = before = ""
    for word in words:
        text = "".join(char for char, _ in word)
        if program.rpartition("/")[2] in _SHELLS and before not in _WITH_VALUE:
            places += [place for place in _split(word)[0] if place >= 0]
        program = "" if text == "&&" or text.endswith(";") else program or text
        before = text
    ends = [*sorted(places), len(command)]
    return [command[start:end] for start, end in zip([0, *(end + 1 for end in ends)], ends, strict=False)]


def _split(chars: Sequence[Placed]) -> tuple[list[int], list[list[Placed]]]:
    """Return where the spaces between words are, and the words without their quotes.

    A character of a word keeps its place only if it stands in single quotes, where the shell changes nothing.
    """
    spaces: list[int] = []
    words: list[list[Placed]] = [[]]
    quote, literal = "", False
    for char, place in chars:
        if literal or (quote == '"' and char not in '"\\'):
            words[-1].append((char, -1))
            literal = False
        elif quote == "'" and char != "'":
            words[-1].append((char, place))
        elif char == "\\":
            literal = True
        elif char in "'\"":
            quote = "" if quote else char
        elif char == " ":
            spaces.append(place)
            words.append([])
        else:
            words[-1].append((char, -1))
    return spaces, words
