"""What decoders do not say about an mp4 or mov file: is an edit list at work, and is its index there?"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

FIRST_KINDS = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"})
HEADER_BYTES = 8
NORMAL_SPEED = 1 << 16

Box = tuple[bytes, int, int]
"""Kind, where its content begins, where it ends."""


def has_edit_list(path: str) -> bool:
    """Say whether an edit list changes what an mp4 or mov file shows, or when; False for every other file.

    A list that shows the whole of a track from its beginning, which most muxers write, changes nothing. Only
    tracks with pictures count: sound has its own lists.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     has_edit_list(file.name)
    False
    """
    with Path(path).open("rb") as file:
        for kind, begin, end in _file_boxes(file):
            if kind == b"moov":
                movie = {inner: place for inner, *place in _boxes(file, begin, end) if inner == b"mvhd"}
                ticks = _timing(file, movie[b"mvhd"][0])[0] if movie else 0
                tracks = (place for inner, *place in _boxes(file, begin, end) if inner == b"trak")
                return any(_is_edited(file, ticks, *place) for place in tracks)
    return False


def movie_duration(path: str) -> float | None:
    """Return the seconds that the header of an mp4 or mov gives the whole; FFmpeg tells its own sum instead.

    None for every other file, and where nothing is said, as in fragments.
    """
    with Path(path).open("rb") as file:
        for kind, begin, end in _file_boxes(file):
            header = _find(file, begin, end, b"mvhd") if kind == b"moov" else None
            if header is not None:
                ticks, length = _timing(file, header[0])
                return length / ticks if ticks and length else None
    return None


def lacks_index(path: str) -> bool:
    """Say whether a file is an mp4 or mov whose index is missing, as where a recording was cut off."""
    with Path(path).open("rb") as file:
        kinds = [kind for kind, *_ in _file_boxes(file)]
    return bool(kinds) and b"moov" not in kinds


def _file_boxes(file: BinaryIO) -> Iterator[Box]:
    size = file.seek(0, 2)
    file.seek(4)
    if file.read(4) in FIRST_KINDS:
        yield from _boxes(file, 0, size)


def _boxes(file: BinaryIO, begin: int, end: int) -> Iterator[Box]:
    place = begin
    while place + HEADER_BYTES <= end:
        file.seek(place)
        header = file.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES:
            return
        length, kind = struct.unpack(">I4s", header)
        inside = place + HEADER_BYTES
        if length == 1:
            extended = file.read(8)
            if len(extended) < 8:
                return
            length, inside = struct.unpack(">Q", extended)[0], inside + 8
        stop = end if length == 0 else place + length
        if stop <= place:
            return
        yield kind, inside, min(stop, end)
        place = stop


def _find(file: BinaryIO, begin: int, end: int, *kinds: bytes) -> tuple[int, int] | None:
    """Return the place of a box by the kinds of the boxes around it, outermost first."""
    for kind, inside, stop in _boxes(file, begin, end):
        if kind == kinds[0]:
            return _find(file, inside, stop, *kinds[1:]) if kinds[1:] else (inside, stop)
    return None


def _is_edited(file: BinaryIO, movie_ticks: int, begin: int, end: int) -> bool:
    """Say whether a track has pictures and an edit list that does something to them."""
    handler = _find(file, begin, end, b"mdia", b"hdlr")
    header = _find(file, begin, end, b"mdia", b"mdhd")
    edits = _find(file, begin, end, b"edts", b"elst")
    if handler is None or header is None or edits is None:
        return False
    file.seek(handler[0] + 8)
    if file.read(4) != b"vide":
        return False
    media_ticks, media_length = _timing(file, header[0])
    file.seek(edits[0])
    content = file.read(min(28, edits[1] - edits[0]))
    layout = ">QqI" if content[:1] == b"\x01" else ">IiI"
    if len(content) < 8 + struct.calcsize(layout) or not movie_ticks or not media_ticks:
        return False
    length, media_time, speed = struct.unpack_from(layout, content, 8)
    cuts = 0 < length / movie_ticks < media_length / media_ticks - 1.5 / movie_ticks
    return int.from_bytes(content[4:8], "big") > 1 or media_time != 0 or speed != NORMAL_SPEED or cuts


def _timing(file: BinaryIO, place: int) -> tuple[int, int]:
    """Return ticks a second and length in ticks, as `mvhd` and `mdhd` begin."""
    file.seek(place)
    content = file.read(32).ljust(32, b"\0")
    ticks, length = (
        struct.unpack_from(">IQ", content, 20) if content[0] else struct.unpack_from(">II", content, 12)
    )
    return ticks, length
