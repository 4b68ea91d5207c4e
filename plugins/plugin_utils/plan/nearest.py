"""What somebody may have meant who wrote a name that there is not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known name most like a word, whatever its case, or nothing.

    A name that a word is the beginning of is most like it.
    """
    names = {name.lower(): name for name in sorted(known)}
    begun = [name for name in names if word and name.startswith(word.lower())]
    near = begun or difflib.get_close_matches(word.lower(), names, 1)
    return f" (did you mean {names[near[0]]!r}?)" if near else ""
