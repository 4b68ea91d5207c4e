"""Several looks at a node at once, each with a deadline, so that one that hangs stalls nothing."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Dict, Mapping, Tuple

Look = Callable[[], Any]


def look(parts: Mapping[str, Look], timeout: float) -> Tuple[Dict[str, Any], Dict[str, str]]:
    """Run functions side by side and wait for each at most `timeout` seconds.

    A thread that is stuck in the kernel, say on a dead network file system, cannot be ended: it is left
    behind and dies with the module's process, since it is a daemon.

    Args:
        parts: name -> function without arguments.
        timeout: seconds, counted for all from the start.

    Returns:
        What each function returned, and by name why the others did not.
    """
    answers: Dict[str, Any] = {}
    errors: Dict[str, str] = {}
    guard = threading.Lock()

    def one(name: str, function: Look) -> None:
        try:
            answer = function()
        except Exception as error:  # any failure of one look is an answer, never the probe's end
            with guard:
                errors[name] = "%s: %s" % (type(error).__name__, error)
            return
        with guard:
            answers[name] = answer

    threads = {
        name: threading.Thread(target=one, args=(name, function), daemon=True)
        for name, function in parts.items()
    }
    for thread in threads.values():
        thread.start()
    deadline = time.monotonic() + timeout
    for thread in threads.values():
        thread.join(max(0.0, deadline - time.monotonic()))
    with guard:
        late = {
            name: "no answer within %g s" % timeout
            for name in parts
            if name not in answers and name not in errors
        }
        return dict(answers), dict(errors, **late)
