"""Spans on the time axis, and how much two of them overlap."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litakit.spans import Event, Span, check_duration, temporal_iou
from tests.conftest import GOLDEN

SECONDS = st.floats(min_value=0, max_value=1e6, allow_nan=False, allow_infinity=False)
SPANS = st.builds(lambda a, b: Span(min(a, b), max(a, b)), SECONDS, SECONDS)


def test_a_span_is_two_floats_in_seconds():
    span = Span(5, 12)
    assert (span.start, span.end, span.duration) == (5.0, 12.0, 7.0)
    assert isinstance(span.start, float)
    assert isinstance(span.end, float)
    assert str(Span(12.5, 30.3)) == "12.5-30.3 s"
    assert str(Event(Span(1, 2), "He runs.")) == "1.0-2.0 s: He runs."


def test_spans_are_ordered_by_start_then_end():
    assert sorted([Span(2, 3), Span(0, 9), Span(0, 4)]) == [Span(0, 4), Span(0, 9), Span(2, 3)]


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (3.0, 2.0, "a span must not end before it starts, got 3.0 s to 2.0 s"),
        (-1.0, 2.0, "a span must start at 0 s or later, got -1.0 s"),
        (math.nan, 2.0, "a span's start must be a finite number of seconds, got nan"),
        (0.0, math.inf, "a span's end must be a finite number of seconds, got inf"),
    ],
)
def test_what_is_no_span_is_refused(start, end, message):
    with pytest.raises(ValueError) as error:
        Span(start, end)
    assert str(error.value) == message


@pytest.mark.parametrize("duration", [0, 0.0, -1.0, math.nan, math.inf])
def test_a_duration_must_be_positive_and_finite(duration):
    with pytest.raises(ValueError, match=r"^duration must be positive and finite, got .* s$"):
        check_duration(duration)
    with pytest.raises(ValueError, match="duration must be positive and finite"):
        Span(0, 1).clamp(duration)


def test_clamping_keeps_what_lies_inside():
    assert Span(5, 70).clamp(60) == Span(5, 60)
    assert Span(65, 70).clamp(60) == Span(60, 60)
    assert Span(5, 6).clamp(60) == Span(5, 6)


def test_shifting_moves_both_ends():
    assert Span(2, 5).shift(60) == Span(62, 65)
    with pytest.raises(ValueError, match="must start at 0 s or later"):
        Span(2, 5).shift(-3)


def test_overlap_by_hand():
    assert temporal_iou(Span(0, 10), Span(5, 15)) == 5 / 15
    assert temporal_iou(Span(0, 10), Span(2, 4)) == 2 / 10
    assert temporal_iou(Span(0, 10), Span(10, 20)) == 0
    assert temporal_iou(Span(0, 10), Span(12, 20)) == 0
    assert temporal_iou(Span(3, 3), Span(3, 3)) == 0  # an empty union


def test_overlap_equals_the_published():
    pairs = json.loads((GOLDEN / "parse_iou.json").read_text())["iou"]
    assert len(pairs) == 206
    for pair in pairs:
        iou = temporal_iou(Span(*pair["a"]), Span(*pair["b"]))
        assert iou == pytest.approx(pair["iou"], abs=1e-12), pair
        assert float(iou >= 0.5) == pair["precision@0.5"], pair


@given(SPANS, SPANS)
def test_overlap_is_symmetric_and_a_share(a, b):
    iou = temporal_iou(a, b)
    assert iou == temporal_iou(b, a)
    assert 0 <= iou <= 1


@given(SPANS)
def test_a_span_overlaps_itself_wholly(span):
    assert temporal_iou(span, span) == (1 if span.duration > 0 else 0)
