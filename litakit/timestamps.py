"""Timestamps in text, `<12.5>`, and the one parser of answers that hold them.

A timestamp is digits with or without a decimal point in angle brackets: no sign, blank, exponent or unit. It
is how annotations write times, and what every time codec turns a model's own writing into.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, get_args

from litakit.spans import Event, Span, check_duration

Policy = Literal["miss", "whole_video", "refuse"]
"""What an answer without a span means: no span, the whole video (as published), or an error."""

Reversed = Literal["order", "unparsed"]
"""A second time before the first: swap the two, or leave the answer to the policy."""

Late = Literal["clamp", "unparsed"]
"""A time behind the end: move it to the end, or leave the answer to the policy."""

ROUNDING_SECONDS = 0.05
"""How far behind the end a time may lie because it was written with one digit; that is no fault."""

TIMESTAMP = re.compile(r"<(\d+\.?\d*|\.\d+)>")


@dataclass(frozen=True)
class ParsedAnswer:
    """An answer in words, taken apart.

    Attributes:
        text: the answer without the two times of its span, as published: nothing else is taken out, and white
            space is stripped at both ends only. The whole answer where it has no span.
        spans: the span, clamped to the video; empty where there is none and the policy is "miss".
        parsed: whether the answer itself named a span; False where the policy put one in its place.
        notes: what was mended or missing, in words.
    """

    text: str
    spans: tuple[Span, ...]
    parsed: bool
    notes: tuple[str, ...] = ()


def find_timestamps(text: str) -> list[float]:
    """Return the seconds of every timestamp in a text, in its order.

    >>> find_timestamps("<12.5> he runs <30>")
    [12.5, 30.0]
    """
    return [float(hit[1]) for hit in TIMESTAMP.finditer(text)]


def write_timestamp(seconds: float) -> str:
    """Return a timestamp for a text, every digit of it and never an exponent.

    >>> write_timestamp(12.5), write_timestamp(0.00001)
    ('<12.5>', '<0.00001>')
    """
    return f"<{Decimal(str(float(seconds))):f}>"


def replace_timestamps(text: str, write: Callable[[float], str]) -> str:
    """Return text with every timestamp written anew.

    >>> replace_timestamps("<12.5> he runs", lambda seconds: f"{seconds:.0f} seconds:")
    '12 seconds: he runs'
    """
    return TIMESTAMP.sub(lambda hit: write(float(hit[1])), text)


def parse_timestamps(
    text: str,
    duration: float,
    policy: Policy = "miss",
    *,
    reversed_times: Reversed = "order",
    out_of_range: Late = "clamp",
) -> ParsedAnswer:
    """Return the span and the words of an answer: its first two timestamps make the span.

    Args:
        text: the answer.
        duration: of the video, positive seconds.
        policy: for an answer without a span: "miss" gives none, "whole_video" gives [0, duration] as the
            published evaluator does, "refuse" raises. In the first two `parsed` is False.
        reversed_times: a second time before the first: "order" swaps them, as published; "unparsed" leaves it
            to the policy.
        out_of_range: a time behind the end: "clamp" moves it to the end, as published; "unparsed" leaves it
            to the policy.

    Raises:
        ValueError: the duration is not positive, a policy has another name, or the answer has no span and the
            policy is "refuse".

    >>> parse_timestamps("between <30> and <12.5>", duration=25.0)
    ParsedAnswer(text='between  and', spans=(Span(start=12.5, end=25.0),), parsed=True,
                 notes=('30.0 s is behind the end at 25.0 s: clamped', 'reversed times: put in order'))
    >>> parse_timestamps("at <5>", duration=25.0, policy="whole_video")
    ParsedAnswer(text='at <5>', spans=(Span(start=0.0, end=25.0),), parsed=False,
                 notes=('expected two times, found 1', 'taken as the whole video'))
    """
    duration = check_duration(duration)
    check_choice("policy", policy, get_args(Policy))
    check_choice("reversed_times", reversed_times, get_args(Reversed))
    check_choice("out_of_range", out_of_range, get_args(Late))
    times = find_timestamps(text)
    if len(times) < 2:
        return _unparsed(text, duration, policy, f"expected two times, found {len(times)}")
    first, second = times[:2]
    late = [time for time in (first, second) if time > duration + ROUNDING_SECONDS]
    notes = [f"{time} s is behind the end at {duration} s" for time in late]
    if notes and out_of_range == "unparsed":
        return _unparsed(text, duration, policy, "; ".join(notes))
    notes = [f"{note}: clamped" for note in notes]
    if second < first:
        if reversed_times == "unparsed":
            return _unparsed(text, duration, policy, "reversed times")
        notes.append("reversed times: put in order")
    words = TIMESTAMP.sub("", text, count=2).strip()
    return ParsedAnswer(words, (_span(first, second, duration),), parsed=True, notes=tuple(notes))


def parse_timestamped_events(text: str, duration: float) -> tuple[Event, ...]:
    """Return every pair of timestamps of a dense caption as a span, with the words up to the next pair.

    A last timestamp without a partner ends the words before it and is dropped; times are put in order and
    clamped.

    Raises:
        ValueError: the duration is not positive.

    >>> parse_timestamped_events("<0> <10> A man runs. <10> <99> He stops.", duration=60.0)
    (Event(span=Span(start=0.0, end=10.0), caption='A man runs.'),
     Event(span=Span(start=10.0, end=60.0), caption='He stops.'))
    """
    duration = check_duration(duration)
    hits = list(TIMESTAMP.finditer(text))
    # Where the words of each pair end: at the next pair, or at the end of the text.
    ends = [*(hit.start() for hit in hits[2::2]), len(text)]
    return tuple(
        Event(_span(float(first[1]), float(second[1]), duration), text[second.end() : end].strip())
        for first, second, end in zip(hits[::2], hits[1::2], ends, strict=False)
    )


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise unless a value is one of a few words.

    Raises:
        ValueError: it is another.

    >>> check_choice("policy", "lenient", ("miss", "refuse"))
    Traceback (most recent call last):
    ...
    ValueError: expected policy 'miss' or 'refuse', got 'lenient'
    """
    if value not in choices:
        *first, last = (repr(choice) for choice in choices)
        raise ValueError(f"expected {name} {', '.join(first)} or {last}, got {value!r}")


def _span(first: float, second: float, duration: float) -> Span:
    """Two times in order and inside the video."""
    start, end = sorted(min(time, duration) for time in (first, second))
    return Span(start, end)


def _unparsed(text: str, duration: float, policy: Policy, reason: str) -> ParsedAnswer:
    """Answer without a span: what the policy makes of it. The words stay whole."""
    match policy:
        case "miss":
            return ParsedAnswer(text.strip(), (), parsed=False, notes=(reason,))
        case "whole_video":
            notes = (reason, "taken as the whole video")
            return ParsedAnswer(text.strip(), (Span(0.0, duration),), parsed=False, notes=notes)
        case "refuse":
            raise ValueError(f"{reason} in the answer {text!r}")
