"""The one thing that decoders do not say about an mp4 or mov file: whether it holds an edit list."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

CONTAINERS = frozenset({b"moov", b"trak", b"edts"})
HEADER_BYTES = 8


def has_edit_list(path: str) -> bool:
    """Say whether an mp4 or mov file has an edit list in any of its tracks; False for every other file.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     has_edit_list(file.name)
    False
    """
    with Path(path).open("rb") as file:
        size = file.seek(0, 2)
        file.seek(4)
        if file.read(4) not in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"):
            return False
        return _search(file, 0, size)


def _search(file: BinaryIO, begin: int, end: int) -> bool:
    place = begin
    while place + HEADER_BYTES <= end:
        file.seek(place)
        length, kind = struct.unpack(">I4s", file.read(HEADER_BYTES))
        inside = place + HEADER_BYTES
        if length == 1:
            extended = file.read(8)
            if len(extended) < 8:
                return False
            length, inside = struct.unpack(">Q", extended)[0], inside + 8
        stop = end if length == 0 else place + length
        if kind == b"elst":
            return True
        if stop <= place:
            return False
        if kind in CONTAINERS and _search(file, inside, min(stop, end)):
            return True
        place = stop
    return False
