"""Annotations: what a data set says about its videos, as its files have it, before anything is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class AnnotationError(ValueError):
    """An annotation file that cannot be read; it names the file, the line or entry, and what was expected."""


class TimedCaption(NamedTuple):
    """A sentence and the seconds it is about, as written: they may be reversed or lie outside the video."""

    start: float
    end: float
    caption: str


class Pair(NamedTuple):
    """A question and its answer; seconds in an answer stand as `<12.5>`."""

    question: str
    answer: str


@dataclass(frozen=True)
class Annotation:
    """What one entry of an annotation file says about one video or image.

    Attributes:
        id: of the entry; data sets mean it to be unique.
        video: what the video (or image) is called, with or without a file's ending; None where there is none.
        duration: of the video in seconds, as written; None where the file does not say it.
        captions: timed sentences, in file order.
        pairs: questions and answers, in file order.
    """

    id: str
    video: str | None
    duration: float | None = None
    captions: tuple[TimedCaption, ...] = ()
    pairs: tuple[Pair, ...] = ()
