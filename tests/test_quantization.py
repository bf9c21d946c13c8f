"""4 and 8 bit through bitsandbytes, on this machine's CPU too."""

import importlib.util
import sys

import pytest
import torch

from litakit.modeling.checkpoints import convert, load_model
from tests._published import CHECKPOINT, golden_json, golden_model, golden_pixels, places

KINDS = {"4bit": "Linear4bit", "8bit": "Linear8bitLt"}


@pytest.mark.parametrize("layout", ["published", "native"])
@pytest.mark.parametrize("quantization", KINDS)
def test_only_the_language_models_layers_are_quantised(tmp_path, quantization, layout):
    folder = CHECKPOINT if layout == "published" else convert(CHECKPOINT, tmp_path / "native")
    model, _ = load_model(folder, device="cpu", quantization=quantization)
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    quantised = {name for name, kind in kinds.items() if kind == KINDS[quantization]}
    assert any(name.endswith("self_attn.q_proj") for name in quantised)
    assert all(name.startswith("language_model.model.layers.") for name in quantised)
    reference = golden_model().state_dict()
    for name in ("language_model.lm_head", "language_model.model.embed_tokens", "projector"):
        weight = model.get_submodule(name).weight
        assert weight.dtype == torch.float32
        assert torch.equal(weight[:1000], reference[f"{name}.weight"][:1000])
    for name, weight in model.vision_tower.state_dict().items():
        assert torch.equal(weight, reference[f"vision_tower.{name}"]), name


@pytest.mark.parametrize("quantization", KINDS)
def test_a_quantised_model_generates_and_stays_near_the_whole_one(quantization):
    model, _ = load_model(CHECKPOINT, device="cpu", quantization=quantization)
    whole, _ = load_model(CHECKPOINT, device="cpu")
    features = whole.get_video_features(golden_pixels("frames_b"))
    ids = places(golden_json("model.json")["input_ids"], 356)
    with torch.no_grad():
        exact, near = (
            m(input_ids=ids, video_features=features).logits[0, :, :1000].flatten() for m in (whole, model)
        )
    assert torch.corrcoef(torch.stack([exact, near]))[0, 1] > 0.9
    answer = model.generate(input_ids=ids, video_features=features, max_new_tokens=5, do_sample=False)
    assert answer.shape[1] > ids.shape[1]


def test_where_bitsandbytes_is_missing_the_fix_is_said(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else find(name)
    )
    monkeypatch.delitem(sys.modules, "bitsandbytes", raising=False)
    for quantization in KINDS:
        with pytest.raises(ImportError) as caught:
            load_model(CHECKPOINT, device="cpu", quantization=quantization)
        assert str(caught.value) == (
            f"loading in {quantization} needs bitsandbytes, which is not installed: "
            "pip install 'litakit[quant]'"
        )


def test_other_words_are_refused():
    with pytest.raises(ValueError) as caught:
        load_model(CHECKPOINT, device="cpu", quantization="2bit")
    assert str(caught.value) == "quantization must be '4bit' or '8bit', got '2bit'"
