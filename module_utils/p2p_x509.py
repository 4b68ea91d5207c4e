"""When a certificate ends, read from its DER without a library (RFC 5280, section 4.1)."""

from __future__ import annotations

import binascii
import datetime
import re
from typing import Iterator, Tuple

_SEQUENCE, _VERSION, _UTC_TIME, _LONG_FORM = 0x30, 0xA0, 0x17, 0x80
# Before the validity stand the serial number, the signature's algorithm and the issuer.
_BEFORE_VALIDITY = 3


def _parts(data: bytes) -> Iterator[Tuple[int, bytes]]:
    """Yield the tag and the content of each element that follows another in DER."""
    at = 0
    while at + 2 <= len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length & _LONG_FORM:
            count = length & ~_LONG_FORM
            length, at = int.from_bytes(data[at : at + count], "big"), at + count
        if at + length > len(data):
            raise ValueError("the certificate is cut short")
        yield tag, data[at : at + length]
        at += length


def not_after(pem: str) -> float:
    """Return when the first certificate of a PEM text ends, in seconds since the epoch.

    Raises:
        ValueError: if there is none that can be read.
    """
    found = re.search(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", pem, re.DOTALL)
    if not found:
        raise ValueError("no certificate in PEM form")
    try:
        certificate = next(_parts(binascii.a2b_base64(found.group(1))))[1]
        fields = list(_parts(next(_parts(certificate))[1]))
        first = 1 if fields[0][0] == _VERSION else 0
        tag, validity = fields[first + _BEFORE_VALIDITY]
        kind, text = list(_parts(validity))[1]
    except (StopIteration, IndexError) as error:
        raise ValueError("not a certificate") from error
    if tag != _SEQUENCE:
        raise ValueError("not a certificate")
    moment = text.decode("ascii")
    if kind == _UTC_TIME:  # two digits of a year: 50 and later are of the twentieth century
        moment = ("19" if moment[:2] >= "50" else "20") + moment
    digits = re.fullmatch(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z", moment)
    if not digits:
        raise ValueError("%s is no time of a certificate" % moment)
    # Not strptime, whose loading costs a probe more than all else here.
    year, month, day, hour, minute, second = map(int, digits.groups())
    utc = datetime.timezone.utc
    return datetime.datetime(year, month, day, hour, minute, second, tzinfo=utc).timestamp()
