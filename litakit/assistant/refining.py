"""The second look: which part of a video to see again, closer, and what becomes of the two answers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from litakit.assistant.answer import Answer, TimeAxis

MARGIN_SHARE = 0.5
"""Margin on each side of the first answer, as a share of its length."""

MARGIN_TOKENS = 2.0
"""The least margin on each side, in time tokens: the answer may be off by one, its frames by another."""

WORTHWHILE_SHARE = 0.8
"""A second look at more than this share of the first sees nothing new."""


@dataclass(frozen=True)
class Part:
    """A part of a video, in seconds of the whole."""

    start: float
    end: float


def second_look(first: Answer, axis: TimeAxis) -> Part | str:
    """Return the part to look at again, or in words why there is none.

    It holds every span of the first answer, with a margin of half their length or of two time tokens,
    whichever is more, inside what the first look saw.
    """
    if axis.duration is None:
        return "no second look: a still image has no time axis"
    if not first.spans:
        return "no second look: the first answer names no span"
    start = min(span.start for span in first.spans)
    end = max(span.end for span in first.spans)
    margin = max(MARGIN_SHARE * (end - start), MARGIN_TOKENS * axis.codec.resolution_seconds(axis.duration))
    part = Part(max(axis.start, start - margin), min(axis.start + axis.duration, end + margin))
    if part.end - part.start > WORTHWHILE_SHARE * axis.duration:
        share = f"{part.end - part.start:.1f} of {axis.duration:.1f} s"
        return f"no second look: the first answer and its margin take {share}"
    return part


def with_first_look(first: Answer, second: Answer, seconds_taken: float) -> Answer:
    """Return the second look's answer, the first kept in it; or the first, if the second names no span."""
    if second.spans:
        return dataclasses.replace(second, first=first, seconds_taken=seconds_taken)
    note = "a second look named no span; this is the first answer"
    return dataclasses.replace(first, notes=(*first.notes, note), seconds_taken=seconds_taken)
