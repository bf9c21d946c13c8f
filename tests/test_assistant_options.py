import math
import re

import pytest
import torch

from litakit.assistant import Assistant, GenerationOptions
from litakit.messages import Message
from tests._small_lita import LONGER, QUESTION, ask, small_lita


@pytest.fixture(scope="module")
def assistant():
    return Assistant(*small_lita())


@pytest.fixture
def session(assistant):
    return assistant.open(LONGER)


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
        ({"temperature": 1e-45}, "temperature must be 0 (greedy) or at least 1e-06, got 1e-45"),
        ({"seed": -1}, "seed must be in [0, 2**64), got -1"),
        ({"seed": 2**64}, f"seed must be in [0, 2**64), got {2**64}"),
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
