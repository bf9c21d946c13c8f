"""Where decoding of H.264 may begin: key frames are not all alike, and some that are called so are none."""

from __future__ import annotations

from typing import Literal

Start = Literal["afresh", "recovers", "no"]

SLICE, IDR, SEI = 1, 5, 6
RECOVERY_POINT = 6
LOOK_BYTES = 1 << 16


def nal_length_bytes(extradata: bytes | None) -> int:
    """Return how many bytes tell a unit's length; 0 where start codes part the units.

    >>> nal_length_bytes(bytes([1, 100, 0, 11, 255, 225, 0])), nal_length_bytes(None)
    (4, 0)
    """
    if extradata is None or len(extradata) < 7 or extradata[0] != 1:
        return 0
    return (extradata[4] & 3) + 1


def h264_start(packet: memoryview, length_bytes: int) -> Start:
    """Say whether a decoder that begins at this packet shows what one shows that came all the way.

    Returns:
        "afresh" for an IDR picture, which nothing refers across; "recovers" for a recovery point that is
        right at once, behind which only pictures shown before it may lack something; "no" for any other, such
        as an intra picture that later ones refer across, or the first of several that refresh the picture.

    >>> h264_start(memoryview(bytes([0, 0, 1, 0x65, 0])), 0)
    'afresh'
    """
    data = bytes(packet[:LOOK_BYTES])
    recovers = False
    for unit in _units(data, length_bytes):
        kind = unit[0] & 31
        if kind == IDR:
            return "afresh"
        if kind == SLICE:
            return "recovers" if recovers else "no"
        if kind == SEI:
            recovers |= _recovers_at_once(unit[1:])
    return "no"


def _units(data: bytes, length_bytes: int) -> list[bytes]:
    if not length_bytes:
        return [unit for unit in data.split(b"\0\0\1")[1:] if unit]
    units, place = [], 0
    while place + length_bytes < len(data):
        length = int.from_bytes(data[place : place + length_bytes], "big")
        place += length_bytes
        if length:
            units.append(data[place : place + length])
        place += length
    return units


def _recovers_at_once(messages: bytes) -> bool:
    """Look for a recovery point that is right after 0 frames, in Exp-Golomb code: a set bit."""
    place = 0
    while place + 2 < len(messages):
        numbers = []
        for _ in range(2):  # kind and size; each 255 is followed by more
            number = 0
            while place < len(messages) - 1 and messages[place] == 255:
                number, place = number + 255, place + 1
            numbers.append(number + messages[place])
            place += 1
            if place >= len(messages):
                return False
        if numbers[0] == RECOVERY_POINT:
            return bool(messages[place] & 0x80)
        place += numbers[1]
    return False
