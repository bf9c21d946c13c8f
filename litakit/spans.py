"""Spans and events on the time axis of a video: plain floats in seconds."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Span:
    """A stretch of a video, in seconds from its first frame.

    Attributes:
        start: first second, finite, at least 0.
        end: last second, finite, at least `start`.

    Raises:
        ValueError: a bound is not a finite number, is negative, or `end` lies before `start`.

    >>> span = Span(12.5, 30.25)
    >>> span.duration
    17.75
    >>> str(span)
    '12.5-30.25 s'
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            value = float(getattr(self, name))
            if not math.isfinite(value):
                raise ValueError(f"a span's {name} must be a finite number of seconds, got {value}")
            object.__setattr__(self, name, value)
        if self.start < 0:
            raise ValueError(f"a span must start at 0 s or later, got {self.start} s")
        if self.end < self.start:
            raise ValueError(f"a span must not end before it starts, got {self.start} s to {self.end} s")

    @property
    def duration(self) -> float:
        """Seconds from start to end; 0 for a moment."""
        return self.end - self.start

    def clamp(self, duration: float) -> "Span":
        """Return the part inside [0, duration]; a span wholly behind the end becomes the moment at the end.

        Args:
            duration: of the video, positive seconds.

        Raises:
            ValueError: the duration is not positive and finite.

        >>> Span(50, 70).clamp(60.0)
        Span(start=50.0, end=60.0)
        """
        duration = check_duration(duration)
        return Span(min(self.start, duration), min(self.end, duration))

    def shift(self, seconds: float) -> "Span":
        """Return the span moved by some seconds, as from the time axis of a part to that of the whole video.

        Raises:
            ValueError: the moved span would start before 0 s.

        >>> Span(2, 5).shift(60)
        Span(start=62.0, end=65.0)
        """
        return Span(self.start + seconds, self.end + seconds)

    def __str__(self) -> str:
        return f"{round(self.start, 2)}-{round(self.end, 2)} s"


@dataclass(frozen=True)
class Event:
    """Something that happens in a video: when, and in words."""

    span: Span
    caption: str

    def __str__(self) -> str:
        return f"{self.span}: {self.caption}"


def temporal_iou(a: Span, b: Span) -> float:
    """Return the intersection over the union of two spans, in [0, 1]; 0 where the union is empty.

    The measure behind mIoU and P@0.5 of Reasoning Temporal Localization (arXiv 2403.19046, section 4).

    >>> temporal_iou(Span(0, 10), Span(5, 15))
    0.3333333333333333
    >>> temporal_iou(Span(3, 3), Span(3, 3))
    0.0
    """
    intersection = max(0.0, min(a.end, b.end) - max(a.start, b.start))
    union = a.duration + b.duration - intersection
    # The sum of roundings can lift the ratio of two equal spans a hair over 1.
    return min(1.0, intersection / union) if union > 0 else 0.0


def check_duration(duration: float) -> float:
    """Return a duration as a Python float, or raise where it cannot be divided by.

    Raises:
        ValueError: it is 0, negative, infinite or not a number.

    >>> check_duration(0.0)
    Traceback (most recent call last):
    ...
    ValueError: duration must be positive and finite, got 0.0 s
    """
    if not (math.isfinite(duration) and duration > 0):
        raise ValueError(f"duration must be positive and finite, got {duration} s")
    return float(duration)
