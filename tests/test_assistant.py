import logging
import math
import re
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import litakit
from litakit.assistant import Answer, Assistant, Boundary, GenerationOptions, load
from litakit.assistant.answer import TimeAxis, expected_overlap, span_confidence
from litakit.assistant.prefix import common_length
from litakit.assistant.refining import Part, second_look, with_first_look
from litakit.assistant.streaming import PieceMaker
from litakit.features import FeatureStore
from litakit.messages import Message
from litakit.spans import Span, temporal_iou
from litakit.time_tokens import SecondsText, TimeTokenizer
from litakit.video import VideoError
from tests._small_lita import FRAMES, LONGER, QUESTION, SHORT, small_lita, watching

OTHER = "What happens after that?"
LIMIT = 24


@pytest.fixture(scope="module")
def assistant():
    return Assistant(*small_lita())


@pytest.fixture
def session(assistant):
    return assistant.open(LONGER)


def ask(session, question=QUESTION, **options):
    return session.ask(question, **{"max_new_tokens": LIMIT, **options})


# --- encoded once, read once ---


def test_opening_encodes_and_asking_does_not(assistant):
    with watching(assistant.model) as seen:
        session = assistant.open(LONGER)
    assert (seen.frames, seen.ids) == (8, [])
    with watching(assistant.model) as seen:
        ask(session)
    assert seen.frames == 0


def test_a_second_question_reads_only_its_own_words(assistant, session):
    prompts = [
        assistant.processor.encode_prompt([Message("user", question, video=True)])
        for question in (QUESTION, OTHER)
    ]
    num_common = common_length(*prompts)
    assert num_common > assistant.model.config.num_visual_tokens
    with watching(assistant.model) as seen:
        first = ask(session)
    assert seen.ids == [len(prompts[0])] + [1] * (len(first.token_ids) - 1)
    session.reset()
    with watching(assistant.model) as seen:
        second = ask(session, OTHER)
    assert seen.frames == 0
    assert seen.ids == [len(prompts[1]) - num_common] + [1] * (len(second.token_ids) - 1)
    assert seen.ids[0] < 25


def test_the_same_question_again_reads_one_id(assistant, session):
    first = ask(session)
    session.reset()
    with watching(assistant.model) as seen:
        again = ask(session)
    assert seen.ids == [1] * len(again.token_ids)
    assert again.token_ids == first.token_ids


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"temperature": 1.0, "top_p": 0.9, "seed": 5}])
def test_answers_equal_those_of_a_fresh_session(assistant, session, options):
    ask(session, OTHER)
    ask(session, "And before?", num_beams=2)
    session.reset()
    used = ask(session, **options)
    fresh = ask(assistant.open(LONGER), **options)
    assert used.token_ids == fresh.token_ids
    assert used.text == fresh.text
    for ours, theirs in zip(used.boundaries, fresh.boundaries, strict=True):
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-5)


def test_answers_equal_generation_without_any_cache_of_ours(assistant, session):
    ask(session, OTHER)
    session.reset()
    answer = ask(session)
    ids = assistant.processor.encode_prompt([Message("user", QUESTION, video=True)])
    plain = assistant.model.generate(
        torch.tensor([ids]),
        video_features=session.video.features[None],
        max_new_tokens=LIMIT,
        do_sample=False,
        pad_token_id=0,
    )
    assert list(answer.token_ids) == plain[0, len(ids) :].tolist()


def test_a_conversation_extends_the_prefix_and_equals_a_replayed_one(assistant, session):
    first = ask(session)
    known = len(session._prefix.ids)
    with watching(assistant.model) as seen:
        second = ask(session, OTHER)
    prompt = assistant.processor.encode_prompt(
        [Message("user", QUESTION, video=True), Message("assistant", first.raw_text), Message("user", OTHER)]
    )
    reread = seen.ids[0]
    assert known > len(prompt) - reread >= assistant.model.config.num_visual_tokens
    plain = assistant.model.generate(
        torch.tensor([prompt]),
        video_features=session.video.features[None],
        max_new_tokens=LIMIT,
        do_sample=False,
        pad_token_id=0,
    )
    assert list(second.token_ids) == plain[0, len(prompt) :].tolist()
    fresh = assistant.open(LONGER)
    ask(fresh)
    assert ask(fresh, OTHER).token_ids == second.token_ids
    alone = assistant.open(LONGER)
    assert ask(alone, OTHER).token_ids != second.token_ids  # the history acts


def test_beams_read_the_video_once_for_all(assistant, session):
    num_prompt = len(assistant.processor.encode_prompt([Message("user", QUESTION, video=True)]))
    with watching(assistant.model) as seen:
        ask(session, num_beams=3)
    assert seen.ids[0] == num_prompt - 1
    assert set(seen.ids[1:]) == {3}
    session.reset()
    with watching(assistant.model) as seen:
        ask(session, num_beams=3)
    assert set(seen.ids) == {3}


def test_a_failure_in_the_middle_leaves_no_half_read_prefix(assistant, session):
    expected = ask(assistant.open(LONGER)).token_ids
    ask(session, OTHER)
    session.reset()
    calls = []

    def fail(module, args, output):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("out of memory")

    hook = assistant.model.language_model.model.layers[1].register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        ask(session)
    hook.remove()
    assert session.history == ()
    assert ask(session).token_ids == expected


def test_reset_forgets_the_conversation(session):
    first = ask(session)
    assert session.history == (Message("user", QUESTION, video=True), Message("assistant", first.raw_text))
    session.reset()
    assert session.history == ()
    assert ask(session).token_ids == first.token_ids


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


# --- options ---


def test_temperature_and_seed_act(session):
    greedy = ask(session).token_ids
    drawn = []
    for seed in (1, 1, 2):
        session.reset()
        drawn.append(ask(session, temperature=2.0, seed=seed).token_ids)
    assert drawn[0] == drawn[1]
    assert len({greedy, *drawn}) == 3


def test_a_seed_leaves_the_random_state_alone_and_no_seed_goes_on_from_it(session):
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    ask(session, temperature=2.0, seed=1)
    assert torch.rand(1) == expected
    answers = set()
    for _ in range(2):
        session.reset()
        answers.add(ask(session, temperature=2.0).token_ids)
    assert len(answers) == 2


def test_a_tiny_top_p_is_greedy_again(session):
    greedy = ask(session).token_ids
    session.reset()
    assert ask(session, temperature=2.0, top_p=1e-6, seed=1).token_ids == greedy
    session.reset()
    assert ask(session, temperature=2.0, seed=1).token_ids != greedy


def test_beams_find_a_more_probable_answer(assistant, session):
    def log_probability(answer):
        ids = assistant.processor.encode_prompt([Message("user", QUESTION, video=True)])
        with torch.no_grad():
            logits = assistant.model(
                input_ids=torch.tensor([[*ids, *answer.token_ids]]),
                video_features=session.video.features[None],
            ).logits[0, len(ids) - 1 : -1]
        chosen = torch.log_softmax(logits, dim=-1).gather(1, torch.tensor(answer.token_ids)[:, None])
        return float(chosen.sum())

    one = ask(session, max_new_tokens=6)
    session.reset()
    four = ask(session, max_new_tokens=6, num_beams=4)
    assert four.token_ids != one.token_ids
    assert log_probability(four) > log_probability(one)


def test_a_checkpoints_generation_config_does_not_act_behind_our_back():
    model, processor = small_lita()
    expected = ask(Assistant(model, processor).open(LONGER)).token_ids
    model.generation_config.update(temperature=0.9, top_p=0.6, max_length=30, repetition_penalty=3.0)
    assert ask(Assistant(model, processor).open(LONGER)).token_ids == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.1}, "temperature must be 0 or more, got -0.1"),
        ({"temperature": math.nan}, "temperature must be 0 or more, got nan"),
        ({"temperature": 1.0, "top_p": 0.0}, "top_p must be above 0 and at most 1, got 0.0"),
        ({"top_p": 0.5}, "top_p 0.5 acts only when tokens are drawn: set a temperature above 0"),
        ({"num_beams": 0}, "num_beams must be at least 1, got 0"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, got 0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        GenerationOptions(**options)


def test_the_template_acts_and_a_wrong_one_is_refused():
    model, processor = small_lita()
    ours = ask(Assistant(model, processor).open(LONGER))
    v1 = ask(Assistant(model, processor, template="v1").open(LONGER))
    assert "curious human" in ours.prompt
    assert "curious user" in v1.prompt
    assert v1.token_ids != ours.token_ids
    with pytest.raises(ValueError, match="expected a chat template out of"):
        Assistant(model, processor, template="v7")


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


def test_refine_says_why_it_does_not(assistant, session):
    answer = ask(session, refine=True, max_new_tokens=1)
    assert answer.first is None
    assert any("no second look" in note for note in answer.notes)
    session.reset()
    stream = session.stream(QUESTION, refine=True, max_new_tokens=1)
    assert "".join(stream) == answer.text
    assert stream.answer.notes == answer.notes


# --- streaming ---


@pytest.mark.parametrize("options", [{}, {"temperature": 1.5, "seed": 3}, {"num_beams": 2}])
def test_pieces_are_the_answer_without_half_a_time(assistant, options):
    expected = ask(assistant.open(LONGER), **options)
    session = assistant.open(LONGER)
    stream = session.stream(QUESTION, max_new_tokens=LIMIT, **options)
    pieces = list(stream)
    assert "".join(pieces) == expected.text
    assert stream.answer.token_ids == expected.token_ids
    assert session.history[-1].content == expected.raw_text
    assert not any("<t" in piece for piece in pieces)
    if "num_beams" not in options:
        assert len(pieces) > 2


def test_a_stream_comes_while_it_is_generated(assistant):
    session = assistant.open(LONGER)
    stream = session.stream(QUESTION, max_new_tokens=400)
    with watching(assistant.model) as seen:
        next(stream)
        stream.close()
    assert 0 < len(seen.ids) < 350


def test_a_stream_that_is_left_is_not_remembered_and_harms_nothing(assistant):
    expected = ask(assistant.open(LONGER)).token_ids
    session = assistant.open(LONGER)
    stream = session.stream(OTHER, max_new_tokens=400)
    next(stream)
    with pytest.raises(RuntimeError, match="still answering"):
        ask(session)
    with pytest.raises(RuntimeError, match="the answer is not complete"):
        _ = stream.answer
    stream.close()
    assert session.history == ()
    with watching(assistant.model) as seen:
        assert ask(session).token_ids == expected
    assert seen.ids[0] < 25  # the video stayed read


def test_an_error_in_a_stream_comes_out_of_it(assistant):
    session = assistant.open(LONGER)

    def fail(*args):
        raise RuntimeError("out of memory")

    hook = assistant.model.language_model.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(session.stream(QUESTION, max_new_tokens=LIMIT))
    hook.remove()


@given(
    st.lists(
        st.sampled_from(["a", " ", "1", "2.", ".5", " s", "s", "<t", "<t7>", "7>", "\n", "é"]), max_size=25
    )
)
def test_pieces_join_to_the_whole_whatever_comes(parts):
    axis = TimeAxis(SecondsText(), duration=60.0, start=100.0)
    maker = PieceMaker(lambda ids: "".join(parts[i] for i in ids).strip(), axis.show)
    pieces = [maker.add(index) for index in range(len(parts))]
    whole = axis.show("".join(parts).strip())
    assert "".join(pieces) + maker.rest(whole) == whole


def test_plain_seconds_are_shown_whole_and_moved(assistant):
    axis = TimeAxis(SecondsText(), duration=60.0, start=100.0)
    parts = ["from", " 1", "2", ".", "5", " s", " to", " 30", " s"]
    maker = PieceMaker(lambda ids: "".join(parts[i] for i in ids), axis.show)
    pieces = [maker.add(index) for index in range(len(parts))]
    assert pieces == ["", "from ", "", "", "", "", "112.5s ", "to ", ""]
    assert maker.rest("from 112.5s to 130.0s") == "130.0s"


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


# --- loading ---


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=f"no model at {tmp_path}/none: expected 'tiny' or a folder"):
        load(tmp_path / "none")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    model, processor = small_lita()
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


def test_a_saved_model_answers_as_before(folder, session, monkeypatch, tmp_path):
    monkeypatch.setenv("LITAKIT_HOME", str(tmp_path))
    loaded = litakit.load(folder, device="cpu", dtype="float32")
    assert isinstance(loaded, Assistant)
    assert ask(loaded.open(LONGER)).token_ids == ask(session).token_ids
    assert len(FeatureStore().entries()) == 1
    again = litakit.load(folder, device="cpu", dtype="float32")
    with watching(again.model) as seen:
        again.open(LONGER)
    assert seen.frames == 0


def test_load_can_do_without_the_disk(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("LITAKIT_HOME", str(tmp_path / "home"))
    assistant = litakit.load(folder, device="cpu", dtype="float32", cache=False)
    assistant.open(SHORT)
    assert not (tmp_path / "home").exists()


def test_an_answer_survives_a_cache_that_cannot_be_written(folder, monkeypatch, tmp_path, caplog):
    home = tmp_path / "home"
    home.mkdir()
    (home / "features").write_text("in the way")
    monkeypatch.setenv("LITAKIT_HOME", str(home))
    assistant = litakit.load(folder, device="cpu", dtype="float32")
    with caplog.at_level(logging.WARNING):
        assert ask(assistant.open(SHORT)).text
    assert "could not be kept" in caplog.text


def test_load_passes_dtype_and_template_on(folder):
    assistant = litakit.load(folder, device="cpu", dtype=torch.bfloat16, template="v1", cache=False)
    assert assistant.model.dtype == torch.bfloat16
    assert assistant.chat_template.name == "v1"
    assert ask(assistant.open(SHORT)).text
    with pytest.raises(ValueError, match="expected a chat template"):
        litakit.load(folder, template="v7")


def test_the_store_knows_a_copy_and_not_a_change(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("LITAKIT_HOME", str(tmp_path / "home"))
    assistant = litakit.load(folder, device="cpu", dtype="float32")
    shutil.copytree(FRAMES, tmp_path / "frames")
    with watching(assistant.model) as seen:
        assistant.open(tmp_path / "frames", fps=5.0)
        assistant.open(FRAMES, fps=5.0)
        (tmp_path / "frames" / "000040.jpg").unlink()
        assistant.open(tmp_path / "frames", fps=5.0)
    assert seen.frames == 16
