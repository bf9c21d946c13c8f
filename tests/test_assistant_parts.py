import re

import numpy as np
import pytest
import torch
from PIL import Image

from litakit.assistant import Answer, Assistant
from litakit.assistant.answer import TimeAxis
from litakit.assistant.refining import Part, second_look, with_first_look
from litakit.spans import Span
from litakit.time_tokens import TimeTokenizer
from litakit.video import VideoError
from tests._small_lita import FRAMES, LIMIT, LONGER, QUESTION, ask, small_lita, watching


@pytest.fixture(scope="module")
def assistant():
    return Assistant(*small_lita())


@pytest.fixture
def session(assistant):
    return assistant.open(LONGER)


# --- parts and the second look ---


def test_a_part_is_seen_alone_and_answered_in_the_whole_videos_seconds(assistant):
    part = assistant.open(LONGER, start=4.0, end=10.0)
    assert part.start == pytest.approx(4.0)
    assert part.duration == pytest.approx(6.0)
    assert part.info.duration == pytest.approx(12.0, abs=0.2)
    answer = ask(part)
    assert answer.resolution_seconds == pytest.approx(6.0 / 99)
    whole = ask(assistant.open(LONGER))
    assert not np.array_equal(answer.boundaries[0].probabilities, whole.boundaries[0].probabilities)
    tokens = [int(hit) for hit in re.findall(r"<t(\d+)>", answer.raw_text)]
    seconds = [4.0 + token * 6.0 / 99 for token in tokens]
    assert [boundary.seconds for boundary in answer.boundaries] == pytest.approx(seconds)
    assert answer.spans[0].start == pytest.approx(min(seconds[:2]), abs=0.011)
    assert answer.spans[0].end == pytest.approx(max(seconds[:2]), abs=0.011)
    assert [float(hit) for hit in re.findall(r"([\d.]+)s\b", answer.text)] == pytest.approx(
        seconds, abs=0.011
    )
    assert all(4.0 <= span.start <= span.end <= 10.0 for span in answer.spans)


def some_answer(spans, **changes) -> Answer:
    fields = {
        "question": QUESTION,
        "text": "t",
        "spans": tuple(spans),
        "confidence": (None,) * len(spans),
        "boundaries": (),
        "raw_text": "r",
        "token_ids": (5,),
        "resolution_seconds": 1.0,
        "parsed": bool(spans),
        "truncated": False,
        "notes": (),
        "prompt": "p",
        "seconds_taken": 1.0,
    }
    return Answer(**{**fields, **changes})


def test_the_second_look_is_at_the_first_answer_and_its_margin():
    axis = TimeAxis(TimeTokenizer(100), duration=990.0, start=0.0)  # 10 s a token
    assert second_look(some_answer([Span(300, 400)]), axis) == Part(250.0, 450.0)
    assert second_look(some_answer([Span(300, 310)]), axis) == Part(280.0, 330.0)
    assert second_look(some_answer([Span(5, 15)]), axis) == Part(0.0, 35.0)
    assert second_look(some_answer([Span(980, 990)]), axis) == Part(960.0, 990.0)
    assert second_look(some_answer([Span(100, 150), Span(200, 220)]), axis) == Part(40.0, 280.0)
    inside = TimeAxis(TimeTokenizer(100), duration=990.0, start=100.0)
    assert second_look(some_answer([Span(105, 115)]), inside) == Part(100.0, 135.0)


def test_no_second_look_where_there_is_nothing_to_see():
    axis = TimeAxis(TimeTokenizer(100), duration=990.0)
    assert second_look(some_answer([]), axis) == "no second look: the first answer names no span"
    assert "take 990.0 of 990.0 s" in second_look(some_answer([Span(10, 900)]), axis)
    assert "no time axis" in second_look(some_answer([]), TimeAxis(TimeTokenizer(100), None))


def test_the_second_look_keeps_the_first_or_yields_to_it():
    first, second = some_answer([Span(1, 2)], text="first"), some_answer([Span(1.5, 1.7)], text="second")
    both = with_first_look(first, second, 3.0)
    assert (both.text, both.first, both.seconds_taken) == ("second", first, 3.0)
    alone = with_first_look(first, some_answer([]), 3.0)
    assert (alone.text, alone.spans, alone.first) == ("first", first.spans, None)
    assert alone.notes == ("a second look named no span; this is the first answer",)


@pytest.fixture
def narrow():
    """An assistant whose answers name one short span first: what comes is scripted by the head."""
    model, processor = small_lita()
    times = model.config.time_token_ids
    with torch.no_grad():
        head = model.get_output_embeddings().weight
        head[times[0] : times[-1] + 1] = 0.0
        head[times[40]], head[times[44]] = 3 * torch.randn(64), 3 * torch.randn(64)
    return Assistant(model, processor)


def test_refine_looks_again_with_all_frames_inside_the_first_answer(narrow):
    session = narrow.open(LONGER)
    first = ask(session)
    start, end = min(s.start for s in first.spans), max(s.end for s in first.spans)
    session.reset()
    with watching(narrow.model) as seen:
        answer = ask(session, refine=True)
    assert seen.frames == 8  # the second look's; the first were encoded before
    assert answer.first.token_ids == first.token_ids
    assert answer.first.spans == first.spans
    margin = max(0.5 * (end - start), 2 * first.resolution_seconds)
    part = narrow.open(LONGER, start=start - margin, end=end + margin)
    alone = ask(part)
    assert answer.token_ids == alone.token_ids
    assert answer.spans == alone.spans
    assert answer.resolution_seconds == pytest.approx((end - start + 2 * margin) / 99)
    assert answer.resolution_seconds < first.resolution_seconds
    for span in answer.spans:
        assert start - margin - 0.01 <= span.start <= span.end <= end + margin + 0.01
    assert session.history[-1].content == first.raw_text


def test_a_refined_stream_is_the_refined_answer(narrow):
    session = narrow.open(LONGER)
    answer = ask(session, refine=True)
    session.reset()
    stream = session.stream(QUESTION, refine=True, max_new_tokens=LIMIT)
    assert "".join(stream) == answer.text
    assert stream.answer.spans == answer.spans
    assert stream.answer.first.text == answer.first.text


def test_a_second_look_that_fails_or_is_left_takes_its_turn_along(narrow, monkeypatch):
    session = narrow.open(LONGER)
    ask(session)
    before = session.history
    for error in (VideoError("gone.mp4", "gone"), KeyboardInterrupt()):

        def fail(*args, error=error, **kwargs):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(narrow, "open", fail)
            with pytest.raises(type(error)):
                ask(session, "And then?", refine=True)
            with pytest.raises(type(error)):
                list(session.stream("And then?", refine=True, max_new_tokens=LIMIT))
        assert session.history == before
    stream = session.stream("And then?", refine=True, max_new_tokens=LIMIT)
    next(stream)
    stream.close()
    assert session.history == before
    again = narrow.open(LONGER)
    ask(again)
    assert ask(session, "And then?").token_ids == ask(again, "And then?").token_ids


def test_refine_says_why_it_does_not(assistant, session):
    answer = ask(session, refine=True, max_new_tokens=1)
    assert answer.first is None
    assert any("no second look" in note for note in answer.notes)
    session.reset()
    stream = session.stream(QUESTION, refine=True, max_new_tokens=1)
    assert "".join(stream) == answer.text
    assert stream.answer.notes == answer.notes


# --- images, folders, long videos ---


def test_a_still_image_has_no_time_axis(assistant, tmp_path):
    Image.new("RGB", (80, 60), "red").save(tmp_path / "red.png")
    session = assistant.open(tmp_path / "red.png")
    answer = ask(session)
    assert (session.duration, answer.spans, answer.boundaries, answer.confidence) == (None, (), (), ())
    assert (answer.resolution_seconds, answer.parsed) == (None, False)
    assert answer.text == answer.raw_text
    assert "<t" in answer.text
    assert "a still image has no time axis: the time tokens in the answer stand for no second" in answer.notes
    assert "".join(assistant.open(tmp_path / "red.png").stream(QUESTION, max_new_tokens=LIMIT)) == answer.text


def test_a_folder_of_frames_needs_its_rate_or_duration(assistant):
    session = assistant.open(FRAMES, fps=5.0)
    assert session.duration == pytest.approx(8.0)
    assert ask(session).resolution_seconds == pytest.approx(8.0 / 99)
    assert assistant.open(FRAMES, duration=16.0).duration == pytest.approx(16.0)
    with pytest.raises(VideoError, match="fps"):
        assistant.open(FRAMES)


def test_a_long_video_says_how_coarse_its_times_are(assistant):
    long = ask(assistant.open(FRAMES, duration=3600.0))
    assert any("one time token spans 36.4 s of these 3600 s" in note for note in long.notes)
    short = ask(assistant.open(FRAMES, duration=120.0))
    assert not any("one time token spans" in note for note in short.notes)
