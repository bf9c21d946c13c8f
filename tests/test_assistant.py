import logging
import shutil

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
