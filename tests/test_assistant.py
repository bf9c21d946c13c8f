import logging
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import litakit
from litakit.assistant import Assistant, load
from litakit.assistant.prefix import common_length
from litakit.features import FeatureStore
from litakit.messages import Message
from tests._small_lita import FRAMES, LIMIT, LONGER, OTHER, QUESTION, SHORT, ask, small_lita, watching


@pytest.fixture(scope="module")
def assistant():
    return Assistant(*small_lita())


@pytest.fixture
def session(assistant):
    return assistant.open(LONGER)


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


def end_and_question(assistant, question):
    """Ids from the end of an answer on, with the next question."""
    words = [Message("user", QUESTION, video=True), Message("assistant", "yes"), Message("user", question)]
    ids, labels = assistant.processor.encode_sample(words, assistant.chat_template)
    return ids[max(index for index, label in enumerate(labels) if label != -100) :]


@pytest.mark.parametrize("template", ["llava_v1", "llama_2"])
def test_a_conversation_reads_only_its_new_words_turn_by_turn(assistant, template):
    assistant = Assistant(assistant.model, assistant.processor, template=template)
    session, fresh = assistant.open(LONGER), assistant.open(LONGER)
    read = assistant.processor.encode_prompt([Message("user", QUESTION, video=True)], template)
    read += ask(session).token_ids
    ask(fresh)
    for question in (OTHER, "Is </s> the end of <t5>?", "And then?"):
        new = end_and_question(assistant, question)
        with watching(assistant.model) as seen:
            answer = ask(session, question)
        assert seen.frames == 0
        assert seen.ids == [1 + len(new)] + [1] * (LIMIT - 1)  # 1: the limit cut the last answer's last token
        read += new
        plain = assistant.model.generate(
            torch.tensor([read]),
            attention_mask=torch.ones(1, len(read)),  # what it wrote may hold the padding's id
            video_features=session.video.features[None],
            max_new_tokens=LIMIT,
            do_sample=False,
            pad_token_id=0,
        )
        assert list(answer.token_ids) == plain[0, len(read) :].tolist()
        assert ask(fresh, question).token_ids == answer.token_ids
        read += answer.token_ids
    alone = assistant.open(LONGER)
    assert ask(alone, "And then?").token_ids != answer.token_ids  # the history acts


def test_a_conversation_that_tokenises_as_it_was_written_is_the_published_prompt(assistant, session):
    scripted = assistant.processor.encode_sample(
        [Message("user", QUESTION, video=True), Message("assistant", "<t3> <t17> because he runs.")]
    )
    answer = [token for token, label in zip(*scripted, strict=True) if label != -100]
    steps = iter([*answer, *[5] * 4])

    def script(module, args, output):
        output.zero_()
        output[..., next(steps)] = 1.0

    hook = assistant.model.get_output_embeddings().register_forward_hook(script)
    try:
        first = session.ask(QUESTION)
        assert first.token_ids == tuple(answer)
        assert not first.truncated
        with watching(assistant.model) as seen:
            session.ask(OTHER, max_new_tokens=4)
    finally:
        hook.remove()
    prompt = assistant.processor.encode_prompt([*session.history[:2], Message("user", OTHER)])
    assert list(session._prefix.ids[: len(prompt)]) == prompt
    assert seen.ids[0] == len(end_and_question(assistant, OTHER))


def test_a_question_put_before_another_was_answered_is_not_answered_over_it(session):
    early = session.stream(OTHER, max_new_tokens=LIMIT)
    ask(session)
    with pytest.raises(RuntimeError, match="the conversation has gone on"):
        next(early)
    assert len(session.history) == 2


@pytest.mark.parametrize("step", [0, 1, 5])
def test_an_interrupt_leaves_the_session_as_it_was(assistant, session, step):
    first = ask(session)
    expected = ask(session, OTHER)
    session.reset()
    ask(session)
    calls = []

    def interrupt(module, args):
        calls.append(1)
        if len(calls) == step + 1:
            raise KeyboardInterrupt

    hook = assistant.model.language_model.model.layers[1].register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        ask(session, OTHER)
    hook.remove()
    assert [message.content for message in session.history] == [QUESTION, first.raw_text]
    assert ask(session, OTHER).token_ids == expected.token_ids


def test_two_sessions_answer_in_two_threads_as_alone(assistant):
    videos = {LONGER: QUESTION, SHORT: OTHER}
    alone = [ask(assistant.open(video), question).token_ids for video, question in videos.items()]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            both = pool.map(lambda pair: ask(assistant.open(pair[0]), pair[1]).token_ids, videos.items())
            assert list(both) == alone


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
