"""Seconds to time tokens and back, text with tokens to text with spans: the only place that does either.

Text of our own carries times as timestamps, `<12.5>`. A `TimeCodec` turns them into what a language model
reads and writes, and back: `TimeTokenizer` into tokens of their own, `<t10>` (arXiv 2403.19046, section 3),
`SecondsText` into plain words, `12.5 s`.
"""

import math
import re
from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from litakit.spans import Event, Span, check_duration
from litakit.timestamps import (
    TIMESTAMP,
    Late,
    ParsedAnswer,
    Policy,
    Reversed,
    check_choice,
    parse_timestamped_events,
    parse_timestamps,
    replace_timestamps,
)

__all__ = [
    "DisplayStyle",
    "OutOfRange",
    "ParsedAnswer",
    "Policy",
    "SecondsText",
    "TimeCodec",
    "TimeTokenizer",
    "make_time_codec",
]

OutOfRange = Literal["clamp", "keep", "refuse"]
"""A second outside [0, duration]: move it to the edge, count on past the grid as published, or raise."""

DisplayStyle = Literal["seconds", "published"]
"""How times are shown: `12.5s` for people, `<12.5>` for the parser."""

_TIME_TOKEN = re.compile(r"<t(0|[1-9][0-9]*)>")
# A minus before the number makes it no time, but the hyphen of "3.0 s-5.0 s" is no minus. A whole number
# needs the blank: "in his 30s" names no time.
_SECONDS_WORD = re.compile(r"(?<![\w.,<])(?<!(?<!s)-)(\d+\.\d*|\.\d+|\d+(?= )) ?s\b")


class TimeCodec(Protocol):
    """A way to write seconds into a language model's text, and to read them from it."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name that a config stores and `make_time_codec` takes."""

    @property
    @abstractmethod
    def tokens(self) -> tuple[str, ...]:
        """What the vocabulary needs for this codec, in order; empty where plain text serves."""

    @abstractmethod
    def resolution_seconds(self, duration: float) -> float:
        """Return the seconds between two neighbours of the grid that times are rounded to."""

    @abstractmethod
    def encode(self, seconds: float, duration: float, out_of_range: OutOfRange = "clamp") -> int:
        """Return the index on the grid that is nearest to a time."""

    @abstractmethod
    def decode(self, index: int, duration: float) -> float:
        """Return the time of a grid index in seconds, in [0, duration]."""

    @abstractmethod
    def render(self, text: str, duration: float, out_of_range: OutOfRange = "clamp") -> str:
        """Return text with every `<12.5>` timestamp as the model has it; everything else stays as it is."""

    @abstractmethod
    def render_span(self, span: Span, duration: float) -> str:
        """Return the two times of a span as the model has them, with a blank between."""

    @abstractmethod
    def display(self, text: str, duration: float, style: DisplayStyle = "seconds") -> str:
        """Return text of the model with its times as `12.5s`, or as `<12.5>` in style "published"."""

    def parse(
        self,
        text: str,
        duration: float,
        policy: Policy = "miss",
        *,
        reversed_times: Reversed = "order",
        out_of_range: Late = "clamp",
    ) -> ParsedAnswer:
        """Return the span and the words of an answer that has times of this codec, timestamps, or both.

        Times are read as they are displayed, rounded to 0.01 s, as the published evaluator does; one that
        ends the answer counts too. Arguments and errors are those of `litakit.timestamps.parse_timestamps`.
        """
        return parse_timestamps(
            self.display(text, duration, style="published"),
            duration,
            policy,
            reversed_times=reversed_times,
            out_of_range=out_of_range,
        )

    def parse_events(self, text: str, duration: float) -> tuple[Event, ...]:
        """Return every pair of times of a dense caption as a span, with the words up to the next pair."""
        return parse_timestamped_events(self.display(text, duration, style="published"), duration)


@dataclass(frozen=True)
class TimeTokenizer(TimeCodec):
    """Time tokens: vocabulary entries spread evenly over a video, its first and last moment included.

    The grid rounds by up to ``duration / (2 * (num_time_tokens - 1))`` seconds.

    Attributes:
        num_time_tokens: entries of the grid, at least 2.

    Raises:
        ValueError: fewer than 2 time tokens.

    >>> codec = TimeTokenizer(100)
    >>> codec.encode(12.5, duration=120.0), round(codec.decode(10, duration=120.0), 3)
    (10, 12.121)
    >>> codec.render("<12.5> <30> He runs.", duration=120.0)
    '<t10> <t25> He runs.'
    >>> codec.parse("<t10> <t25> He runs.", duration=120.0)
    ParsedAnswer(text='He runs.', spans=(Span(start=12.12, end=30.3),), parsed=True, notes=())
    """

    num_time_tokens: int = 100

    def __post_init__(self) -> None:
        if self.num_time_tokens < 2:
            raise ValueError(f"expected at least 2 time tokens, got {self.num_time_tokens}")

    @property
    def name(self) -> str:
        """The word "tokens"."""
        return "tokens"

    @property
    def tokens(self) -> tuple[str, ...]:
        """The vocabulary entries in order: `<t0>`, `<t1>`, ..."""
        return tuple(f"<t{index}>" for index in range(self.num_time_tokens))

    def token(self, index: int) -> str:
        """Return the vocabulary entry of a grid index.

        Raises:
            ValueError: the index is outside [0, num_time_tokens - 1].
        """
        self._check_index(index)
        return f"<t{index}>"

    def resolution_seconds(self, duration: float) -> float:
        """Return the seconds between two neighbouring time tokens.

        >>> TimeTokenizer(100).resolution_seconds(99.0)
        1.0
        """
        duration = check_duration(duration)
        return duration / (self.num_time_tokens - 1)

    def encode(self, seconds: float, duration: float, out_of_range: OutOfRange = "clamp") -> int:
        """Return the grid index that is nearest to a time; halves go to the even index, as published.

        Args:
            seconds: since the first frame.
            duration: of the video, positive seconds.
            out_of_range: for a time outside [0, duration]: "clamp" takes the nearest edge, "keep" counts on
                past the grid (as published; such an index has no token), "refuse" raises.

        Raises:
            ValueError: the duration is not positive, the time is not a number, or it is out of range and
                refused.

        >>> TimeTokenizer(100).encode(72.0, duration=60.0)
        99
        >>> TimeTokenizer(100).encode(72.0, duration=60.0, out_of_range="keep")
        119
        """
        # Divide first: (n - 1) * seconds / duration misses 42 of 1032 published values.
        place = _place(seconds, duration, out_of_range)
        return round((self.num_time_tokens - 1) * (place / float(duration)))

    def decode(self, index: int, duration: float) -> float:
        """Return the time of a grid index in seconds, in [0, duration], not rounded.

        Raises:
            ValueError: the duration is not positive, or the index is outside the grid.
        """
        duration = check_duration(duration)
        self._check_index(index)
        return min(duration, float(index * duration / (self.num_time_tokens - 1)))

    def render(self, text: str, duration: float, out_of_range: OutOfRange = "clamp") -> str:
        """Return text with every `<12.5>` timestamp as its time token; arguments and errors as `encode`.

        With "keep", a time behind the end becomes a word like `<t119>`, which no vocabulary has.
        """
        check_duration(duration)
        check_choice("out_of_range", out_of_range, get_args(OutOfRange))
        return replace_timestamps(text, lambda time: f"<t{self.encode(time, duration, out_of_range)}>")

    def render_span(self, span: Span, duration: float) -> str:
        """Return the two time tokens of a span.

        >>> TimeTokenizer(100).render_span(Span(12.5, 30.0), duration=120.0)
        '<t10> <t25>'
        """
        return " ".join(self.token(self.encode(seconds, duration)) for seconds in (span.start, span.end))

    def display(self, text: str, duration: float, style: DisplayStyle = "seconds") -> str:
        """Return text with every time token as seconds, rounded to two digits as published.

        A token beyond the grid is no time token and stays as it is.

        Args:
            text: words with time tokens.
            duration: of the video, positive seconds.
            style: "seconds" writes `12.12s`, for timestamps too; "published" writes `<12.12>`.

        >>> TimeTokenizer(100).display("from <t10> to <t25>", duration=120.0)
        'from 12.12s to 30.3s'
        """
        check_duration(duration)

        def timestamp(hit: re.Match[str]) -> str:
            # The lengths are compared first because int() refuses thousands of digits.
            if len(hit[1]) > len(str(self.num_time_tokens)) or int(hit[1]) >= self.num_time_tokens:
                return hit[0]
            return f"<{round(self.decode(int(hit[1]), duration), 2)}>"

        return _styled(_TIME_TOKEN.sub(timestamp, text), style)

    def _check_index(self, index: int) -> None:
        if not 0 <= index < self.num_time_tokens:
            raise ValueError(f"expected a time token index in [0, {self.num_time_tokens - 1}], got {index}")


@dataclass(frozen=True)
class SecondsText(TimeCodec):
    """Times as plain words, `12.5 s`, on a grid of a tenth of a second: no vocabulary of its own.

    >>> codec = SecondsText()
    >>> codec.render("<12.34> <30> He runs.", duration=120.0)
    '12.3 s 30.0 s He runs.'
    >>> codec.parse("12.3 s 30.0 s He runs.", duration=120.0)
    ParsedAnswer(text='He runs.', spans=(Span(start=12.3, end=30.0),), parsed=True, notes=())
    """

    @property
    def name(self) -> str:
        """The word "seconds"."""
        return "seconds"

    @property
    def tokens(self) -> tuple[str, ...]:
        """Empty: the times are plain text."""
        return ()

    def resolution_seconds(self, duration: float) -> float:
        """Return a tenth of a second, whatever the duration."""
        check_duration(duration)
        return 0.1

    def encode(self, seconds: float, duration: float, out_of_range: OutOfRange = "clamp") -> int:
        """Return a time in whole tenths of a second; arguments and errors as in `TimeTokenizer.encode`."""
        return round(_place(seconds, duration, out_of_range) * 10)

    def decode(self, index: int, duration: float) -> float:
        """Return tenths of a second as seconds, in [0, duration].

        Raises:
            ValueError: the duration is not positive, or the index is outside the video.
        """
        last_index = self.encode(duration, duration)
        if not 0 <= index <= last_index:
            raise ValueError(f"expected tenths of a second in [0, {last_index}], got {index}")
        return min(float(duration), float(index) / 10)

    def render(self, text: str, duration: float, out_of_range: OutOfRange = "clamp") -> str:
        """Return text with every `<12.5>` timestamp as `12.5 s`; arguments and errors as `encode`."""
        check_duration(duration)
        check_choice("out_of_range", out_of_range, get_args(OutOfRange))
        return replace_timestamps(text, lambda time: self._words(time, duration, out_of_range))

    def render_span(self, span: Span, duration: float) -> str:
        """Return the two times of a span.

        >>> SecondsText().render_span(Span(12.5, 30.0), duration=120.0)
        '12.5 s 30.0 s'
        """
        return " ".join(self._words(seconds, duration, "clamp") for seconds in (span.start, span.end))

    def display(self, text: str, duration: float, style: DisplayStyle = "seconds") -> str:
        """Return text with its times as `12.5s`, or as `<12.5>` in style "published".

        >>> SecondsText().display("from 12.5 s to 30.0 s", duration=120.0, style="published")
        'from <12.5> to <30.0>'
        """
        check_duration(duration)
        return _styled(_SECONDS_WORD.sub(r"<\1>", text), style)

    def _words(self, seconds: float, duration: float, out_of_range: OutOfRange) -> str:
        return f"{self.encode(seconds, duration, out_of_range) / 10:.1f} s"


def make_time_codec(name: str, num_time_tokens: int = 100) -> TimeCodec:
    """Return the codec that a config names.

    Args:
        name: "tokens" or "seconds".
        num_time_tokens: of the "tokens" codec; "seconds" has none.

    Raises:
        ValueError: there is no codec of that name.

    >>> make_time_codec("tokens", 100).render("<30>", duration=60.0)
    '<t50>'
    """
    match name:
        case "tokens":
            return TimeTokenizer(num_time_tokens)
        case "seconds":
            return SecondsText()
        case _:
            raise ValueError(f"expected a time codec out of ('tokens', 'seconds'), got {name!r}")


def _styled(text: str, style: DisplayStyle) -> str:
    """Text with timestamps, in the style asked for."""
    check_choice("style", style, get_args(DisplayStyle))
    return text if style == "published" else TIMESTAMP.sub(r"\1s", text)


def _place(seconds: float, duration: float, out_of_range: OutOfRange) -> float:
    """Check a time against its video and move it inside where that is asked for."""
    check_duration(duration)
    check_choice("out_of_range", out_of_range, get_args(OutOfRange))
    if math.isnan(seconds):
        raise ValueError("expected a time in seconds, got nan")
    if 0 <= seconds <= duration or (out_of_range == "keep" and math.isfinite(seconds)):
        return float(seconds)
    if out_of_range == "clamp":
        return min(max(float(seconds), 0.0), float(duration))
    raise ValueError(
        f"expected a time in [0, {duration}] s, got {seconds} s; out_of_range='clamp' takes the edge"
    )
