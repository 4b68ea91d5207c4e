"""The clock that every rule counts in."""

import time

# Counts on while a machine sleeps. macOS lacks the name; its CLOCK_MONOTONIC counts through sleep there.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime() -> float:
    """Return the seconds since this machine booted, sleep included, never moved by a wall clock's setting."""
    return time.clock_gettime(_CLOCK)
