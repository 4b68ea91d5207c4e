"""The log of certificates that may still be out there, one a line."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from .p2p_certificate_names import CertificateError


@dataclass(frozen=True)
class Issued:
    """A line of the log of certificates: what may still be out there, and whether it names a voter."""

    serial: str
    node_id: str
    not_after: dt.datetime
    voter: bool = False

    def line(self) -> str:
        """Return the line as written."""
        end = " voter" if self.voter else ""
        return f"{self.serial} {self.node_id} {self.not_after:%Y-%m-%dT%H:%M:%SZ}{end}\n"


def parse_log(text: str, path: Path) -> list[Issued]:
    """Read a log of certificates.

    Raises:
        CertificateError: a line has another form; the message names file and line.
    """
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            rest, mark, _ = f"{line}\n".partition(" voter\n")
            serial, node_id, until = rest.split()
            int(serial, 16)
            not_after = dt.datetime.strptime(until, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.timezone.utc)
        except ValueError as error:
            raise CertificateError(
                f"{path}:{number}: expected 'serial node date', or that and 'voter', found {line!r}. "
                "Restore it from the backup."
            ) from error
        entries.append(Issued(serial, node_id, not_after, bool(mark)))
    return entries
