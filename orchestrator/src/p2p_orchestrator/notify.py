"""Tell systemd how this service does (see sd_notify(3))."""

import os
import socket


def notify(state: str) -> None:
    """Send `state` (such as `READY=1`) to the service manager; do nothing where there is none."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto(state.encode(), address)
        except OSError:
            return


def watchdog_seconds() -> float | None:
    """Return how often the service manager expects a sign of life, in seconds, or None if it does not."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        return int(os.environ["WATCHDOG_USEC"]) / 1e6 or None
    except (KeyError, ValueError):
        return None
