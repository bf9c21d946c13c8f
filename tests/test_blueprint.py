"""Models on paper: counts against real models and PEFT, work by hand and against torch's own counter."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2MoeConfig,
)

from litakit.assets import bundled_model
from litakit.modeling import LitaConfig
from litakit.modeling.checkpoints import load_model
from litakit.training.blueprint import blueprint_of, draw
from litakit.training.config import load_config
from litakit.training.plan import plan
from litakit.training.work import language_flop, vision_flop
from tests._tiny import tiny_ids, tiny_model, tiny_pixels
from tests._training_configs import SHAPE, VISION, parts_without_weights, small_config
from tests.conftest import GOLDEN


@pytest.fixture
def parts(tmp_path):
    return parts_without_weights(tmp_path)


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameters_are_those_of_real_models(parts):
    found = plan(small_config(**parts)).parameters
    text = LlamaConfig(vocab_size=60 + 101, num_key_value_heads=2, **SHAPE)
    llm = parameters(LlamaForCausalLM(text))
    vision = parameters(CLIPVisionModel(CLIPVisionConfig(image_size=16, patch_size=4, **VISION)))
    projector = 16 * 24 + 24
    assert found == {
        "llm": llm,
        "projector": projector,
        "vision": vision,
        "total": llm + projector + vision,
        "trained": llm + projector,
    }


@pytest.mark.parametrize(("tied", "tables"), [(False, 2), (True, 1)])
def test_other_language_models_count_as_well(tied, tables):
    text = Qwen2Config(vocab_size=161, num_key_value_heads=2, tie_word_embeddings=tied, **SHAPE)
    vision = CLIPVisionConfig(image_size=16, patch_size=4, **VISION)
    blueprint = draw(LitaConfig(vision_config=vision, text_config=text, tie_word_embeddings=tied))
    assert blueprint.num_llm == parameters(Qwen2ForCausalLM(text))
    assert blueprint.num_head_weights == 161 * 24
    assert blueprint.num_time_rows == tables * 100 * 24


@pytest.mark.parametrize(("size", "billions"), [("13b", 13.0), ("7b", 6.7)])
def test_parameters_of_the_published_sizes(size, billions):
    found = plan(load_config(f"lita-{size}")).parameters
    assert found["llm"] / 1e9 == pytest.approx(billions, abs=0.05)
    assert found["vision"] / 1e9 == pytest.approx(0.303, abs=0.001)
    assert found["trained"] == found["llm"] + found["projector"]


def test_the_bundled_model_is_counted_as_it_is():
    from safetensors import safe_open

    with safe_open(bundled_model() / "model.safetensors", framework="pt") as file:
        count = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    assert plan(small_config()).parameters["total"] == count


def test_a_published_folder_is_counted_as_it_is_loaded():
    folder = GOLDEN / "ckpt" / "lita-vicuna-v1-3-tiny-temporal_spatial_pool"
    model, _ = load_model(folder)
    blueprint = blueprint_of(small_config(lita=str(folder)))
    parts = (model.language_model, model.projector, model.vision_tower)
    counted = (blueprint.num_llm, blueprint.num_projector, blueprint.num_vision)
    assert counted == tuple(parameters(part) for part in parts)


@pytest.mark.parametrize(
    ("changes", "trained"),
    [
        ({}, "llm + projector"),
        ({"freeze_projector": True}, "llm"),
        ({"freeze_llm": True}, "rows + projector"),
        ({"train": "projector"}, "rows + projector"),
        ({"freeze_llm": True, "freeze_projector": True}, "rows"),
    ],
)
def test_what_learns(changes, trained):
    blueprint = blueprint_of(small_config())
    sizes = {"llm": blueprint.num_llm, "projector": blueprint.num_projector, "rows": 2 * 100 * 192}
    assert blueprint.num_trained(small_config(**changes)) == sum(sizes[part] for part in trained.split(" + "))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's call
@pytest.mark.parametrize("targets", ["all-linear", ("q_proj", "v_proj")])
@pytest.mark.parametrize("bias", ["none", "all", "lora_only"])
def test_lora_learns_what_peft_makes(targets, bias):
    from peft import LoraConfig, get_peft_model

    config = small_config(
        train="lora", lora_rank=3, lora_targets=targets, lora_bias=bias, freeze_projector=True
    )
    blueprint = blueprint_of(config)
    wanted = list(targets) if isinstance(targets, tuple) else targets
    llm = LlamaForCausalLM(blueprint.config.text_config)
    lora = LoraConfig(r=3, target_modules=wanted, bias=bias, task_type="CAUSAL_LM")
    made = sum(p.numel() for p in get_peft_model(llm, lora).parameters() if p.requires_grad)
    assert blueprint.num_trained(config) == made + blueprint.num_time_rows


def test_a_lora_target_that_is_no_layer_is_told_which_there_are():
    with pytest.raises(
        ValueError, match=r"lora_targets: 'c_attn' is no linear .* down_proj, gate_proj, k_proj"
    ):
        plan(small_config(train="lora", lora_targets=("q_proj", "c_attn")))


def test_work_by_hand():
    """Two layers of 24 wide with 4 heads (2 for keys and values), 40 inside, a vocabulary of 71."""
    blueprint = draw(tiny_model().config)
    attention = 24 * 24 * 2 + 24 * 12 * 2
    layer = attention + 3 * 24 * 40
    length = 30
    forward = 2 * layer * 2 * length
    scores = 4 * 24 * 2 * length**2
    head = 2 * 24 * 71 * length
    visual = blueprint.config.num_visual_tokens
    assert visual == 6 + 16
    projector = 2 * (16 * 24 + 24) * visual
    once = small_config(gradient_checkpointing=False)
    assert language_flop(blueprint, once, length) == 3 * (forward + scores + head + projector)
    again = small_config(gradient_checkpointing=True)
    assert language_flop(blueprint, again, length) == 4 * (forward + scores) + 3 * (head + projector)
    frozen = small_config(train="projector", gradient_checkpointing=False)
    assert language_flop(blueprint, frozen, length) == 2 * forward + 3 * (scores + head + projector)
    lora = small_config(train="lora", lora_rank=2, lora_targets=("q_proj",), freeze_projector=True)
    updates = 2 * (2 * 2 * (24 + 24)) * length
    assert language_flop(blueprint, lora, length, video_share=0.5) == (
        3 * forward + 4 * (scores + updates) + 3 * head + 0.5 * projector
    )


def test_work_is_what_torch_counts():
    model = tiny_model()
    model.set_attn_implementation("eager")
    blueprint = draw(model.config)
    ids = torch.tensor([tiny_ids(model, *range(10, 17))])
    features = torch.randn(1, model.config.num_visual_tokens, 16)
    model.vision_tower.requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, video_features=features, labels=ids).loss.backward()
    planned = language_flop(blueprint, small_config(gradient_checkpointing=False), ids.shape[1])
    assert planned == pytest.approx(counter.get_total_flops(), rel=0.05)

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.get_video_features(tiny_pixels())
    assert vision_flop(blueprint) == pytest.approx(counter.get_total_flops(), rel=0.05)


def test_models_that_are_not_there_are_told(parts):
    with pytest.raises(
        ValueError, match=r"llm: no/llm is neither a folder with config\.json, nor in the hub's"
    ):
        plan(small_config(**{**parts, "llm": "no/llm"}))
    with pytest.raises(ValueError, match=r"vision: no/eyes is neither .* openai/clip-vit-large-patch14"):
        plan(small_config(**{**parts, "vision": "no/eyes"}))
    with pytest.raises(ValueError, match="no model at nowhere: expected 'tiny' or a folder"):
        plan(small_config(lita="nowhere"))


def test_models_that_are_not_dense_are_told():
    text = Qwen2MoeConfig(vocab_size=161, num_experts=8, moe_intermediate_size=64, **SHAPE)
    vision = CLIPVisionConfig(image_size=16, patch_size=4, **VISION)
    with pytest.raises(ValueError, match="for dense language models only: many of qwen2_moe's weights"):
        draw(LitaConfig(vision_config=vision, text_config=text))
