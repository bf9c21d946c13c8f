"""What learns, what stands still to the bit, and what is saved and loaded again."""

from typing import Any

import pytest
import torch

from litakit.modeling import LitaForConditionalGeneration, LitaProcessor
from litakit.training.learners import choose_learners, learnt_state
from litakit.training.results import load_adapter, save_result
from litakit.training.time_rows import fold_time_rows
from tests._small_lita import small_lita
from tests._training_configs import small_config

LORA = {"train": "lora", "lora_rank": 4, "lora_alpha": 8.0, "lora_dropout": 0.1}
CHOICES: dict[str, dict[str, Any]] = {
    "all": {},
    "frozen llm": {"freeze_llm": True},
    "frozen projector": {"freeze_projector": True},
    "lora": LORA,
    "lora of two layers": {**LORA, "lora_targets": ("q_proj", "v_proj"), "freeze_projector": True},
    "projector": {"train": "projector"},
}


def batch_of(model, seed=0):
    """Two rows: words, a video's places, words and time tokens, which are learnt."""
    generator = torch.Generator().manual_seed(seed)
    count, ids = model.config.num_visual_tokens, model.config.time_token_ids
    words = torch.randint(3, 800, (2, 6), generator=generator)
    times = torch.tensor(ids)[torch.randint(0, len(ids), (2, 3), generator=generator)]
    places = torch.full((2, count), model.config.video_token_id)
    rows = torch.cat([words, places, times, words[:, :2]], dim=1)
    labels = rows.clone()
    labels[:, : 6 + count] = -100
    features = torch.randn(2, count, model.config.feature_width, generator=generator)
    return {"input_ids": rows, "labels": labels, "video_features": features}


def trained(config, steps=6, weight_decay=0.1):
    model, processor = small_lita()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    choose_learners(model, config)
    model.train()
    optimizer = torch.optim.AdamW(learnt_state_parameters(model), lr=1e-2, weight_decay=weight_decay)
    for step in range(steps):
        loss = model(**batch_of(model, step)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval(), processor, before


def learnt_state_parameters(model):
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def generated(model):
    batch = batch_of(model, 99)
    return model.generate(
        batch["input_ids"][:, :-3], video_features=batch["video_features"], max_new_tokens=20
    )


@pytest.mark.parametrize("choice", CHOICES)
def test_time_rows_learn_and_what_is_frozen_stays_to_the_bit(choice):
    config = small_config(**CHOICES[choice])
    model, _, before = trained(config)
    after = fold_time_rows(model, model.state_dict())
    after = {name.replace(".base_layer", ""): value for name, value in after.items()}
    is_time = torch.zeros(model.config.text_config.vocab_size, dtype=torch.bool)
    is_time[model.config.time_token_ids] = True
    for name, old in before.items():
        new = after[name]
        if name.endswith(("embed_tokens.weight", "lm_head.weight")):
            used = is_time if name.endswith("lm_head.weight") else is_time & (new != old).any(dim=1)
            assert (new != old).any(dim=1)[used].all(), name
            assert used.any(), name
            if not config.learns_llm:
                assert torch.equal(new[~is_time], old[~is_time]), name
        elif name.startswith("projector."):
            assert torch.equal(new, old) != config.learns_projector, name
        elif name.startswith("language_model.") and config.learns_llm:
            assert not torch.equal(new, old), name
        else:
            assert torch.equal(new, old), name


@pytest.mark.parametrize("choice", CHOICES)
def test_what_is_saved_answers_id_for_id(choice, tmp_path):
    config = small_config(precision="fp32", **CHOICES[choice])
    model, processor, _ = trained(config)
    small_lita()[0].save_pretrained(tmp_path / "base")
    save_result(model, processor, config, tmp_path / "model")
    save_result(model, processor, config, tmp_path / "model")  # in the place of what was there
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "model"]
    if config.train == "all":
        again = LitaForConditionalGeneration.from_pretrained(tmp_path / "model").eval()
        LitaProcessor.from_pretrained(tmp_path / "model")
    else:
        again, _ = load_adapter(tmp_path / "model", tmp_path / "base")
    expected = generated(model)
    assert torch.equal(generated(again), expected)
    assert not torch.equal(generated(small_lita()[0]), expected)
    batch = batch_of(model, 7)
    with torch.no_grad():
        assert torch.allclose(again(**batch).logits, model(**batch).logits, atol=2e-4)


def test_lora_starts_from_the_seed_and_leaves_the_generator_of_others_alone():
    states = []
    for seed in (0, 0, 1):
        model, _ = small_lita()
        torch.manual_seed(5)
        choose_learners(model, small_config(**LORA, seed=seed))
        assert torch.rand(1).item() == torch.rand(1, generator=torch.Generator().manual_seed(5)).item()
        states.append(learnt_state(model))
    name = next(name for name in states[0] if ".lora_A." in name)
    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[0][name], states[2][name])


def test_targets_that_are_not_there_are_named():
    model, _ = small_lita()
    with pytest.raises(ValueError) as caught:
        choose_learners(model, small_config(**LORA, lora_targets=("q_proj", "query")))
    assert str(caught.value) == (
        "lora_targets: expected names out of down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj, "
        "got query"
    )
