"""The one parser of answers with timestamps, against the published one and beyond it."""

import json
import math
from collections import defaultdict
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litakit.spans import Event, Span, temporal_iou
from litakit.time_tokens import TimeTokenizer
from litakit.timestamps import parse_timestamped_events, parse_timestamps, replace_timestamps
from tests.conftest import GOLDEN

PARSED = json.loads((GOLDEN / "parse_iou.json").read_text())["parse"]
SCRIPTED = json.loads((GOLDEN / "rtl_scripted.json").read_text())


def test_every_answer_is_read_as_published():
    assert len(PARSED) == 45 * 3
    for case in PARSED:
        words, span = case["lenient"]
        answer = parse_timestamps(case["text"], case["duration"], policy="whole_video")
        assert (answer.text, answer.spans) == (words, (Span(*span),)), case


def test_what_the_published_parser_refuses_is_unparsed():
    refused = [case for case in PARSED if "raises" in case["strict"]]
    assert len(refused) == 48
    for case in PARSED:
        answer = parse_timestamps(case["text"], case["duration"])
        if "raises" in case["strict"]:
            assert not answer.parsed
            assert answer.spans == ()
            assert answer.text == case["text"].strip()
            assert answer.notes[0].startswith("expected two times, found "), case
        else:
            words, span = case["strict"]
            assert answer.parsed
            assert (answer.text, answer.spans) == (words, (Span(*span),)), case


def test_scripted_answers_give_the_published_words_and_spans():
    assert len(SCRIPTED["cases"]) == 22
    for case in SCRIPTED["cases"]:
        answer = parse_timestamps(case["outputs"], case["duration"], policy="whole_video")
        assert answer.text == case["sentence"]
        assert answer.spans == (Span(*case["timestamps"]),), case["name"]


def test_a_final_time_token_is_read_where_the_published_evaluator_loses_it():
    mended = {
        "last token is a time token, no eos": Span(6.06, 12.12),
        "two time tokens only, no eos": Span(3.03, 5.45),
    }
    codec = TimeTokenizer(100)
    for case in SCRIPTED["cases"]:
        answer = codec.parse(case["outputs"], case["duration"], policy="whole_video")
        assert answer.spans == (mended.get(case["name"], Span(*case["timestamps"])),), case["name"]


def test_scripted_answers_score_as_published():
    by_video = defaultdict(list)
    for case, question in zip(SCRIPTED["cases"], SCRIPTED["questions"], strict=True):
        reference = parse_timestamps(question["answer"], question["duration"], policy="refuse")
        answer = parse_timestamps(case["outputs"], question["duration"], policy="whole_video")
        by_video[question["vid"]].append(temporal_iou(answer.spans[0], reference.spans[0]))
    iou = mean(mean(scores) for scores in by_video.values())
    precision = mean(mean(score >= 0.5 for score in scores) for scores in by_video.values())
    assert iou == pytest.approx(SCRIPTED["metrics"]["iou"], abs=1e-12)
    assert precision == pytest.approx(SCRIPTED["metrics"]["precision@0.5"], abs=1e-12)


def test_reference_words_lose_their_times_only():
    for question, line in zip(SCRIPTED["questions"], SCRIPTED["answers"], strict=True):
        reference = parse_timestamps(question["answer"], question["duration"], policy="refuse")
        assert reference.text == line["text_gnd"]


def test_a_missing_span_follows_the_policy():
    assert parse_timestamps(" at <5> ", 60).notes == ("expected two times, found 1",)
    whole = parse_timestamps("at <5>", 60, policy="whole_video")
    assert whole.spans == (Span(0, 60),)
    assert not whole.parsed
    with pytest.raises(ValueError) as error:
        parse_timestamps("at <5>", 60, policy="refuse")
    assert str(error.value) == "expected two times, found 1 in the answer 'at <5>'"
    with pytest.raises(ValueError) as error:
        parse_timestamps("at <5>", 60, policy="lenient")
    assert str(error.value) == "expected policy 'miss', 'whole_video' or 'refuse', got 'lenient'"


def test_reversed_times_are_put_in_order_or_refused():
    answer = parse_timestamps("<10> <5> x", 60)
    assert answer.spans == (Span(5, 10),)
    assert answer.notes == ("reversed times: put in order",)
    strict = parse_timestamps("<10> <5> x", 60, reversed_times="unparsed")
    assert (strict.parsed, strict.spans, strict.notes) == (False, (), ("reversed times",))
    assert strict.text == "<10> <5> x"
    with pytest.raises(ValueError, match="reversed times in the answer '<10> <5> x'"):
        parse_timestamps("<10> <5> x", 60, policy="refuse", reversed_times="unparsed")


def test_times_behind_the_end_are_clamped_or_refused():
    answer = parse_timestamps("<50> <70> x", 60)
    assert answer.spans == (Span(50, 60),)
    assert answer.notes == ("70.0 s is behind the end at 60.0 s: clamped",)
    strict = parse_timestamps("<50> <70> x", 60, out_of_range="unparsed")
    assert (strict.parsed, strict.notes) == (False, ("70.0 s is behind the end at 60.0 s",))


def test_a_number_too_long_for_a_float_is_behind_the_end():
    assert parse_timestamps(f"<1> <{'9' * 400}>", 60).spans == (Span(1, 60),)


@pytest.mark.parametrize("duration", [0, -5.0, math.nan, math.inf])
def test_a_video_without_length_is_refused(duration):
    for parse in (parse_timestamps, parse_timestamped_events):
        with pytest.raises(ValueError, match=r"^duration must be positive and finite, got"):
            parse("<1> <2>", duration)


def test_dense_captions_give_every_event():
    text = "It begins. <0> <4> A man runs.<4><90> He stops. <10>"
    assert parse_timestamped_events(text, 60) == (
        Event(Span(0, 4), "A man runs."),
        Event(Span(4, 60), "He stops."),
    )
    assert parse_timestamped_events("nothing <5>", 60) == ()
    assert parse_timestamped_events("<9> <3> back", 60) == (Event(Span(3, 9), "back"),)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=6))
def test_events_are_read_back_in_order(pairs):
    events = tuple(Event(Span(min(pair), max(pair)), f"event {index}") for index, pair in enumerate(pairs))
    text = " ".join(f"<{event.span.start}> <{event.span.end}> {event.caption}" for event in events)
    assert parse_timestamped_events(text, 500) == events


@given(st.text())
def test_any_text_is_read_without_an_error(text):
    answer = parse_timestamps(text, 60)
    assert answer.parsed == bool(answer.spans)
    assert parse_timestamps(text, 60, policy="whole_video").spans[0].end <= 60


def test_timestamps_are_replaced_and_nothing_else():
    text = "<5> <.5> <5.> <05> <-5> <5s> < 5> <1e3> <5,5> <.> <>"
    assert (
        replace_timestamps(text, lambda time: f"[{time}]")
        == "[5.0] [0.5] [5.0] [5.0] <-5> <5s> < 5> <1e3> <5,5> <.> <>"
    )
