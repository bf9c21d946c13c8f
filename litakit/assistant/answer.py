"""Answers: a model's tokens as words, spans in seconds, and the doubt about each boundary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from litakit.spans import Span
from litakit.time_tokens import TimeCodec
from litakit.timestamps import TIMESTAMP, replace_timestamps

LONG_RESOLUTION_SECONDS = 2.0
"""From this resolution on, answers say how coarse their times are (100 time tokens: from 198 s of video)."""


@dataclass(frozen=True, eq=False)
class Boundary:
    """One time token of an answer, and how probable every other one was in its place.

    Attributes:
        seconds: when, on the time axis of the whole video.
        index: of the token, in [0, N - 1].
        probabilities: (N,) softmax over the N time tokens alone, whatever the sampling options.
        token_seconds: (N,) the seconds that each time token stands for, on the time axis of the whole video.
    """

    seconds: float
    index: int
    probabilities: np.ndarray
    token_seconds: np.ndarray

    def __repr__(self) -> str:
        share = float(self.probabilities[self.index])
        return f"Boundary(seconds={self.seconds:.2f}, index={self.index}, probability={share:.3f})"


@dataclass(frozen=True, eq=False)
class Answer:
    """What a model said about a video. All seconds are on the time axis of the whole video.

    Attributes:
        question: as it was asked.
        text: the whole answer in words, its times as `12.12s`.
        spans: every pair of times in the answer, in the order they stand; the first is the answer to "when?".
            Empty where there are fewer than two times, and for a still image.
        confidence: for each span, the temporal IoU to be expected of it, in [0, 1], if start and end were
            drawn from their boundaries' probabilities; None where the model writes times without time tokens.
        boundaries: every time token of the answer, in order.
        raw_text: the answer as the model wrote it, with time tokens.
        token_ids: what the model generated, the end token included.
        resolution_seconds: between two neighbouring times that the model can name; None for a still image.
        parsed: whether the answer holds a span.
        truncated: whether the limit of tokens ended it.
        notes: what the reader should know, in words.
        prompt: what the model read, with `<image>` for the video.
        seconds_taken: from the question to the end of the answer, a second look included.
        first: the first look's answer, where this one is of a second look.
    """

    question: str
    text: str
    spans: tuple[Span, ...]
    confidence: tuple[float | None, ...]
    boundaries: tuple[Boundary, ...]
    raw_text: str
    token_ids: tuple[int, ...]
    resolution_seconds: float | None
    parsed: bool
    truncated: bool
    notes: tuple[str, ...]
    prompt: str
    seconds_taken: float
    first: Answer | None = None

    def __repr__(self) -> str:
        spans = ", ".join(str(span) for span in self.spans) or "no span"
        return f"Answer({self.text!r}, {spans})"


@dataclass(frozen=True)
class TimeAxis:
    """Where a model's times lie in the video: it is told of a part, people speak of the whole.

    Attributes:
        codec: how the model writes times.
        duration: seconds of the part that the model sees; None for a still image.
        start: second of the video at which the part begins.
    """

    codec: TimeCodec
    duration: float | None
    start: float = 0.0

    @property
    def resolution_seconds(self) -> float | None:
        """Seconds between two times that can be named; None for a still image."""
        return None if self.duration is None else self.codec.resolution_seconds(self.duration)

    def show(self, raw_text: str) -> str:
        """Return a model's text with its times as seconds in the whole video; a still image has none.

        >>> from litakit.time_tokens import TimeTokenizer
        >>> TimeAxis(TimeTokenizer(100), duration=99.0, start=60.0).show("from <t1> on")
        'from 61.0s on'
        """
        if self.duration is None:
            return raw_text
        published = self.codec.display(raw_text, self.duration, style="published")
        return replace_timestamps(published, lambda seconds: f"{round(seconds + self.start, 2)}s")

    def spans(self, raw_text: str) -> tuple[Span, ...]:
        """Return every pair of times of a model's text, put in order, in the whole video.

        >>> from litakit.time_tokens import TimeTokenizer
        >>> TimeAxis(TimeTokenizer(100), duration=99.0, start=60.0).spans("<t5> <t1> because")
        (Span(start=61.0, end=65.0),)
        """
        if self.duration is None:
            return ()
        events = self.codec.parse_events(raw_text, self.duration)
        return tuple(
            Span(round(e.span.start + self.start, 2), round(e.span.end + self.start, 2)) for e in events
        )

    def boundary(self, index: int, probabilities: np.ndarray) -> Boundary:
        """Return a time token as a boundary in the whole video.

        Raises:
            ValueError: the axis is a still image's.
        """
        if self.duration is None:
            raise ValueError("a still image has no time axis, so its time tokens are no boundaries")
        seconds = [
            self.start + self.codec.decode(token, self.duration) for token in range(len(probabilities))
        ]
        return Boundary(seconds[index], index, probabilities, np.array(seconds))

    def notes(self, raw_text: str, *, num_time_tokens: int) -> tuple[str, ...]:
        """Return what is to be said about the times of an answer."""
        if self.duration is None:
            times = ": the time tokens in the answer stand for no second" if num_time_tokens else ""
            return (f"a still image has no time axis{times}",)
        notes = list(self.codec.parse(raw_text, self.duration).notes)
        resolution = self.codec.resolution_seconds(self.duration)
        if resolution >= LONG_RESOLUTION_SECONDS:
            notes.append(
                f"one time token spans {resolution:.1f} s of these {self.duration:.0f} s: times are no finer "
                "than that (refine takes a second, closer look)"
            )
        return tuple(notes)


def span_confidence(
    raw_text: str, spans: Sequence[Span], boundaries: Sequence[Boundary], axis: TimeAxis
) -> tuple[float | None, ...]:
    """Return the expected IoU of each span; None where the times in the text are not the time tokens.

    Args:
        raw_text: the model's text that the spans were read from.
        spans: pairs of times, in order.
        boundaries: the time tokens, in order; span i is made of 2 i and 2 i + 1.
        axis: where they lie.
    """
    if axis.duration is None or not spans:
        return ()
    times = [
        float(hit[1]) for hit in TIMESTAMP.finditer(axis.codec.display(raw_text, axis.duration, "published"))
    ]
    same = len(times) == len(boundaries) and all(
        abs(time + axis.start - boundary.seconds) <= 0.01
        for time, boundary in zip(times, boundaries, strict=True)
    )
    if not same:
        return (None,) * len(spans)
    return tuple(expected_overlap(boundaries[2 * i], boundaries[2 * i + 1]) for i in range(len(spans)))


def expected_overlap(first: Boundary, second: Boundary) -> float:
    """Return the temporal IoU to be expected of the span between two boundaries, in [0, 1].

    The truth is drawn: its two ends independently from the boundaries' probabilities, put in order. A certain
    pair gives 1; doubt that moves an end by half the span's length costs about half.

    >>> sure = np.eye(3)
    >>> seconds = np.array([0.0, 5.0, 10.0])
    >>> expected_overlap(Boundary(0.0, 0, sure[0], seconds), Boundary(10.0, 2, sure[2], seconds))
    1.0
    >>> doubtful = Boundary(10.0, 2, np.array([0.0, 0.5, 0.5]), seconds)
    >>> expected_overlap(Boundary(0.0, 0, sure[0], seconds), doubtful)
    0.75
    """
    start, end = sorted((first.seconds, second.seconds))
    one, other = first.token_seconds[:, None], second.token_seconds[None, :]
    low, high = np.minimum(one, other), np.maximum(one, other)  # (N, N)
    shared = np.clip(np.minimum(high, end) - np.maximum(low, start), 0.0, None)
    union = (high - low) + (end - start) - shared
    overlap = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    weights = first.probabilities[:, None].astype(float) * second.probabilities[None, :]
    return min(1.0, float((weights * overlap).sum()))
