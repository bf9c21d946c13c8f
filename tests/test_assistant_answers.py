import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from litakit.assistant import Assistant, Boundary
from litakit.assistant.answer import TimeAxis, expected_overlap, span_confidence
from litakit.messages import Message
from litakit.spans import Span, temporal_iou
from litakit.time_tokens import SecondsText, TimeTokenizer
from tests._small_lita import LIMIT, LONGER, QUESTION, ask, small_lita


@pytest.fixture(scope="module")
def assistant():
    return Assistant(*small_lita())


@pytest.fixture
def session(assistant):
    return assistant.open(LONGER)


# --- what an answer holds ---


@pytest.mark.parametrize("num_beams", [1, 3])
def test_boundaries_are_the_models_own_probabilities(assistant, session, num_beams):
    answer = ask(session, num_beams=num_beams)
    config = assistant.model.config
    ids = assistant.processor.encode_prompt([Message("user", QUESTION, video=True)])
    with torch.no_grad():
        logits = assistant.model(
            input_ids=torch.tensor([[*ids, *answer.token_ids]]), video_features=session.video.features[None]
        ).logits[0]
    times = [place for place, token in enumerate(answer.token_ids) if token in config.time_token_ids]
    assert len(times) == len(answer.boundaries) > 1
    for place, boundary in zip(times, answer.boundaries, strict=True):
        expected = torch.softmax(logits[len(ids) - 1 + place, config.time_token_ids], dim=-1)
        np.testing.assert_allclose(boundary.probabilities, expected.numpy(), atol=1e-5)
        assert config.time_token_ids[boundary.index] == answer.token_ids[place]
        assert boundary.seconds == boundary.token_seconds[boundary.index]
        assert boundary.seconds == pytest.approx(boundary.index * session.duration / 99)
        assert math.isclose(boundary.probabilities.sum(), 1.0, abs_tol=1e-5)


def test_probabilities_do_not_depend_on_the_temperature(session):
    cold = ask(session)
    session.reset()
    warm = ask(session, temperature=1e-4, seed=1)
    assert warm.token_ids == cold.token_ids
    for one, other in zip(warm.boundaries, cold.boundaries, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)


def test_text_spans_and_resolution_are_in_seconds(session):
    answer = ask(session)
    tokens = [int(hit) for hit in re.findall(r"<t(\d+)>", answer.raw_text)]
    assert len(tokens) > 3
    assert "<t" not in answer.text
    seconds = [round(token * session.duration / 99, 2) for token in tokens]
    assert [float(hit) for hit in re.findall(r"([\d.]+)s\b", answer.text)] == seconds
    pairs = [sorted(pair) for pair in zip(seconds[::2], seconds[1::2], strict=False)]
    assert [[span.start, span.end] for span in answer.spans] == pairs
    assert answer.parsed
    assert answer.resolution_seconds == session.duration / 99
    assert len(answer.confidence) == len(answer.spans)
    assert all(0 <= sure <= 1 for sure in answer.confidence)
    assert answer.seconds_taken > 0
    assert answer.prompt.endswith(f"USER: <image>\n{QUESTION} ASSISTANT:")


def test_the_token_limit_is_said(session, assistant):
    answer = ask(session)
    assert len(answer.token_ids) == LIMIT
    assert answer.truncated
    assert f"the answer was cut at the limit of {LIMIT} tokens" in answer.notes


def test_an_answer_that_ends_by_itself_is_not_truncated(assistant, session):
    head = assistant.model.get_output_embeddings().weight
    before = head.detach().clone()
    answer = ask(session)
    try:
        with torch.no_grad():  # the end token wins wherever the fourth token did
            head[2] = 1.2 * head[answer.token_ids[3]]
        session.reset()
        short = ask(session)
    finally:
        with torch.no_grad():
            head.copy_(before)
    assert short.token_ids[-1] == 2
    assert len(short.token_ids) <= LIMIT
    assert not short.truncated
    assert not any("cut at the limit" in note for note in short.notes)


def test_an_empty_answer_is_said_and_not_remembered(assistant, session):
    expected = ask(assistant.open(LONGER)).token_ids
    head = assistant.model.get_output_embeddings().weight
    before = head.detach().clone()
    try:
        with torch.no_grad():
            head[2] = 50 * head[expected[0]]
        answer = ask(session)
    finally:
        with torch.no_grad():
            head.copy_(before)
    assert answer.token_ids == (2,)
    assert (answer.text, answer.spans, answer.parsed, answer.truncated) == ("", (), False, False)
    assert any("said nothing" in note for note in answer.notes)
    assert session.history == ()
    assert ask(session).token_ids == expected


def test_a_conversation_longer_than_the_model_reads_is_refused_with_words(assistant, session):
    ask(session)
    with pytest.raises(
        ValueError, match=r"the prompt to \d+ tokens \(\d+ of them the video\), the model reads 2048"
    ):
        ask(session, "why " * 2000)
    with pytest.raises(ValueError, match=r"reset\(\) forgets the 1 turns before it"):
        ask(session, "why " * 2000)
    session.reset()
    with pytest.raises(ValueError, match="ask a shorter one"):
        ask(session, "why " * 2000)
    assert ask(session).text


def test_the_answer_stops_where_the_context_is_full():
    model, processor = small_lita()
    num_prompt = len(processor.encode_prompt([Message("user", QUESTION, video=True)]))
    processor.max_sequence_length = num_prompt + 5
    answer = Assistant(model, processor).open(LONGER).ask(QUESTION)
    assert len(answer.token_ids) == 5
    assert answer.truncated
    assert answer.notes[-1] == (
        f"the answer was cut at the limit of 5 tokens: the model reads {num_prompt + 5} in all"
    )


@pytest.mark.parametrize("question", ["", "  \n"])
def test_an_empty_question_is_refused(session, question):
    with pytest.raises(ValueError, match="expected a question in words"):
        session.ask(question)


def test_a_user_may_write_image_and_it_stays_words(session):
    answer = ask(session, "What does <image> mean?")
    assert "What does <image> mean?" in answer.prompt


# --- the seam of the time codec ---


def test_plain_seconds_are_a_codec_too():
    model, processor = small_lita(time_codec="seconds")
    session = Assistant(model, processor).open(LONGER)
    answer = ask(session)
    assert isinstance(processor.time_codec, SecondsText)
    assert answer.resolution_seconds == 0.1
    assert len(answer.confidence) == len(answer.spans)


def test_spans_of_plain_seconds_have_no_confidence():
    axis = TimeAxis(SecondsText(), duration=60.0, start=100.0)
    spans = axis.spans("from 12.5 s to 30 s it runs")
    assert spans == (Span(112.5, 130.0),)
    assert axis.show("from 12.5 s to 30 s") == "from 112.5s to 130.0s"
    assert span_confidence("from 12.5 s to 30 s", spans, (), axis) == (None,)


# --- confidence ---


def boundary(weights, index, duration=60.0):
    probabilities = np.asarray(weights, dtype=float)
    probabilities = probabilities / probabilities.sum()
    seconds = np.linspace(0, duration, len(probabilities))
    return Boundary(float(seconds[index]), index, probabilities, seconds)


WEIGHTS = st.lists(st.floats(0.0, 1.0), min_size=6, max_size=6).filter(lambda weights: sum(weights) > 0.1)


@given(WEIGHTS, WEIGHTS, st.integers(0, 5), st.integers(0, 5))
def test_confidence_is_the_expected_iou(first_weights, second_weights, i, j):
    first, second = boundary(first_weights, i), boundary(second_weights, j)
    said = Span(*sorted((first.seconds, second.seconds)))
    expected = sum(
        first.probabilities[a]
        * second.probabilities[b]
        * temporal_iou(said, Span(*sorted((first.token_seconds[a], second.token_seconds[b]))))
        for a in range(6)
        for b in range(6)
    )
    assert expected_overlap(first, second) == pytest.approx(expected, abs=1e-9)
    assert expected_overlap(first, second) == pytest.approx(expected_overlap(second, first), abs=1e-9)


def test_times_that_are_no_tokens_give_no_confidence():
    axis = TimeAxis(TimeTokenizer(100), duration=99.0)
    spans = axis.spans("<t1> <5.0>")
    assert spans == (Span(1.0, 5.0),)
    assert span_confidence("<t1> <5.0>", spans, [boundary(np.ones(100), 1, 99.0)], axis) == (None,)
