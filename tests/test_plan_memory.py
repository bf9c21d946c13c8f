"""Memory on paper: by hand, and the laws of ZeRO, offloading and quantisation."""

import pytest
import torch
from transformers import CLIPVisionConfig, LlamaConfig

from litakit.modeling import LitaConfig, LitaForConditionalGeneration
from litakit.training.blueprint import draw
from litakit.training.config import load_config
from litakit.training.memory import GIB, LIVE_WEIGHTS, OVERHEAD_GIB, memory_of
from litakit.training.plan import plan
from tests._tiny import tiny_model
from tests._training_configs import VISION, small_config


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("how", [{}, {"train": "lora"}, {"train": "projector"}, {"offload": "optimizer"}])
@pytest.mark.parametrize("num_gpus", [2, 8])
def test_each_stage_of_zero_takes_at_most_what_the_one_below_takes(precision, how, num_gpus):
    for base in (small_config(zero=2), load_config("lita-7b")):
        memory = plan(base.replace(precision=precision, **how), num_gpus=num_gpus).memory
        assert memory["zero_3"].total <= memory["zero_2"].total <= memory["zero_0"].total


def test_memory_by_hand():
    blueprint = draw(tiny_model().config)
    config = small_config(precision="bf16", batch_size=3)
    num_trained = blueprint.num_llm + blueprint.num_projector
    whole = num_trained + blueprint.num_vision
    found = memory_of(blueprint, config, 2, 4, 50, pixels=True)
    assert found.weights * GIB == pytest.approx(2 * whole)
    assert found.gradients * GIB == pytest.approx(2 * num_trained / 4)
    assert found.optimizer * GIB == pytest.approx(12 * num_trained / 4)
    # q and o, k and v, gate, up and down in two bytes; two norms in four
    inside = 2 * (2 * (24 + 24) + 2 * (24 + 12) + 3 * (24 + 40)) + 2 * 24 * 4
    assert found.activations * GIB == pytest.approx(3 * 50 * (2 * 24 * 2 + inside))
    assert found.logits * GIB == pytest.approx(3 * 50 * 71 * 12)
    assert found.pixels * GIB == pytest.approx(3 * 6 * 3 * 16**2 * 4 + 16 * 17 * 16 * 4 * 2)
    assert found.host == 0.0
    parts = (found.weights, found.gradients, found.optimizer, found.activations, found.logits, found.pixels)
    assert found.total == pytest.approx(sum(parts) + OVERHEAD_GIB)

    alone = memory_of(blueprint, config, 0, 4, 50, pixels=False)
    assert alone.gradients * GIB == pytest.approx((2 + 4) * num_trained)
    assert alone.pixels == 0.0
    exact = memory_of(blueprint, config.replace(precision="fp32"), 0, 4, 50, pixels=False)
    assert (exact.weights + exact.gradients + exact.optimizer) * GIB == pytest.approx(
        4 * whole + 12 * num_trained
    )
    kept = memory_of(blueprint, config.replace(gradient_checkpointing=False), 2, 4, 50, pixels=False)
    assert kept.activations * GIB == pytest.approx(3 * 50 * 2 * inside)
    scores = memory_of(blueprint, config.replace(attention="eager"), 2, 4, 50, pixels=False)
    assert (scores.activations - found.activations) * GIB == pytest.approx(3 * 50 * 2 * 50 * 4 * 2)


def test_memory_of_the_published_run_by_hand():
    found = plan(load_config("lita-13b"))
    whole, trained = found.parameters["total"], found.parameters["trained"]
    part = found.memory["zero_3"]
    assert part.weights * GIB == pytest.approx(2 * whole / 8 + 2 * LIVE_WEIGHTS)
    assert (part.gradients + part.optimizer) * GIB == pytest.approx(14 * trained / 8)
    assert found.gib_per_gpu == part.total
    assert found.fits
    assert not plan(load_config("lita-13b"), gpu="rtx-4090-24gb").fits


def test_what_is_offloaded_waits_on_the_host():
    config = load_config("lita-13b")
    none, some, most = (plan(config.replace(offload=where)) for where in ("none", "optimizer", "all"))
    trained = none.parameters["trained"]
    assert none.host_gib_per_gpu == 0.0
    assert some.host_gib_per_gpu * GIB == pytest.approx(14 * trained / 8)
    assert most.host_gib_per_gpu * GIB == pytest.approx(14 * trained / 8 + 2 * none.parameters["total"] / 8)
    assert none.gib_per_gpu > some.gib_per_gpu > most.gib_per_gpu


def test_quantised_weights_are_a_quarter_and_their_scales():
    config = load_config("lita-13b").replace(train="lora", zero=2)
    plain, double = plan(config), plan(config.replace(quantize="nf4"))
    single = plan(config.replace(quantize="nf4", double_quant=False))
    layers = 12_687_769_600
    shrunk = (plain.memory["zero_2"].weights - double.memory["zero_2"].weights) * GIB
    assert shrunk == pytest.approx(layers * (2 - 0.5 - 1 / 64 - 4 / 16384))
    more = (single.memory["zero_2"].weights - double.memory["zero_2"].weights) * GIB
    assert 8 * more / layers == pytest.approx(0.37, abs=0.01)  # bits a weight


@pytest.mark.parametrize(("dtype", "precision"), [(torch.float32, "fp32"), (torch.bfloat16, "bf16")])
def test_activations_are_what_torch_keeps(dtype, precision):
    text = {"hidden_size": 128, "intermediate_size": 344, "num_hidden_layers": 6, "num_attention_heads": 4}
    config = LitaConfig(
        vision_config=CLIPVisionConfig(image_size=16, patch_size=4, **VISION),
        text_config=LlamaConfig(vocab_size=1000, **text),
        num_time_tokens=10,
    )
    model = LitaForConditionalGeneration(config).to(dtype).train()
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    ids = torch.randint(0, 900, (4, 128))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = model(input_ids=ids, labels=ids)
    assert outputs.loss.isfinite()
    logarithms = 4 * 128 * 1000 * 4  # of the probabilities, for the loss: counted with the logits
    measured = sum(storage.nbytes() for storage in kept.values()) - logarithms
    small = small_config(precision=precision, batch_size=4, gradient_checkpointing=False, attention="sdpa")
    found = memory_of(draw(config), small, 0, 1, 128, pixels=False)
    assert found.activations * GIB == pytest.approx(measured, rel=0.1)
