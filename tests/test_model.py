"""The model held against what the published implementation computed (golden data)."""

import functools

import pytest
import torch
from safetensors.torch import load_file

from litakit.modeling import LAYOUTS
from tests._published import (
    GOLDEN,
    golden_json,
    golden_model,
    golden_pixels,
    places,
    published_name,
    synthetic_pixels,
)

GOLDEN_LAYOUTS = ("temporal", "spatial", "temporal_spatial_pool")
INPUTS = ("synthetic", "video_a", "frames_b")
TOKENS, LOGITS, LOGSUMEXP = 5e-6, 7e-5, 2e-5  # how far fp32 may move, golden/README.md


@functools.cache
def model():
    return golden_model()


@functools.cache
def golden():
    return golden_json("model.json"), load_file(GOLDEN / "model.safetensors")


@functools.cache
def features(layout, name):
    model().config.visual_layout = layout
    with torch.no_grad():
        return model().get_video_features(golden_pixels(name))


def run(layout, name):
    model().config.visual_layout = layout
    video = features(layout, name)
    ids = places(golden()[0]["input_ids"], video.shape[1])
    with torch.no_grad():
        return ids, model()(input_ids=ids, video_features=video).logits[0]


def farthest(a, b):
    assert a.shape == b.shape
    return (a - b).abs().max().item()


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("layout", GOLDEN_LAYOUTS)
def test_visual_tokens_are_the_published_ones(layout, name):
    with torch.no_grad():
        tokens = model().get_visual_tokens(features(layout, name))[0]
    assert farthest(tokens, golden()[1][f"visual_tokens/{layout}/{name}"]) < TOKENS


@pytest.mark.parametrize("name", INPUTS)
def test_the_layouts_without_golden_values_are_rows_of_the_others(name):
    published = golden()[1]
    parts = {layout: published[f"visual_tokens/{layout}/{name}"] for layout in GOLDEN_LAYOUTS}
    expected = {
        "temporal_spatial": torch.cat([parts["temporal"], parts["spatial"]]),
        "spatial_pool": parts["temporal_spatial_pool"][100:],
    }
    assert set(expected) | set(GOLDEN_LAYOUTS) == set(LAYOUTS)
    for layout, rows in expected.items():
        with torch.no_grad():
            tokens = model().get_visual_tokens(features(layout, name))[0]
        assert farthest(tokens, rows) < TOKENS


@pytest.mark.parametrize("layout", GOLDEN_LAYOUTS)
def test_five_frames(layout):
    model().config.visual_layout = layout
    with torch.no_grad():
        video = model().get_video_features(golden_pixels("synthetic")[:, :5])
        tokens = model().get_visual_tokens(video)[0]
    assert farthest(tokens, golden()[1][f"visual_tokens_T5/{layout}"]) < TOKENS


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("layout", GOLDEN_LAYOUTS)
def test_logits_are_the_published_ones(layout, name):
    _, logits = run(layout, name)
    published = golden()[1]
    assert farthest(logits[-8:, :1000], published[f"logits_last8/{layout}/{name}"]) < LOGITS
    # over all 1001 rows: the video's row takes no share
    assert farthest(logits.logsumexp(-1), published[f"logits_logsumexp/{layout}/{name}"]) < LOGSUMEXP
    assert torch.equal(logits.argmax(-1).int(), published[f"logits_argmax/{layout}/{name}"])


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("layout", GOLDEN_LAYOUTS)
def test_greedy_ids_are_the_published_ones(layout, name):
    model().config.visual_layout = layout
    video = features(layout, name)
    ids = places(golden()[0]["input_ids"], video.shape[1])
    out = model().generate(ids, video_features=video, max_new_tokens=30)
    assert out[0, ids.shape[1] :].tolist() == golden()[0]["archs"][layout][name]["generated_ids"]


def test_three_beams_give_the_published_ids():
    layout = "temporal_spatial_pool"
    model().config.visual_layout = layout
    video = features(layout, "frames_b")
    ids = places(golden()[0]["input_ids"], video.shape[1])
    expected = golden()[0]["beam3_frames_b"]["generated_ids"]
    out = model().generate(ids, video_features=video, max_new_tokens=len(expected), num_beams=3)
    assert out[0, ids.shape[1] :].tolist() == expected


def test_text_only():
    text = golden()[0]["text_only"]
    ids = torch.tensor([text["input_ids"]])
    with torch.no_grad():
        logits = model()(input_ids=ids).logits[0]
    assert farthest(logits[:, :1000], golden()[1]["text_only/logits"]) < LOGITS
    out = model().generate(ids, max_new_tokens=30)
    assert out[0, ids.shape[1] :].tolist() == text["generated_ids"]


@pytest.mark.parametrize("name", INPUTS)
def test_patch_features_are_the_published_ones(name):
    published = golden()[1]
    with torch.no_grad():
        pixels = golden_pixels(name)
        model().config.input_type = "image"
        patches = model().get_video_features(pixels)[0].unflatten(0, (100, 256))
        projected = model().get_visual_tokens(patches[:1])
        model().config.input_type = "video"
    assert farthest(projected, published[f"encode_images/{name}"]) < TOKENS
    assert farthest(patches[[0, 50, 99]], published[f"clip_features/{name}"]) < TOKENS


def test_hidden_states_of_the_vision_tower():
    with torch.no_grad():
        pixels = golden_pixels("synthetic")[0, :1]
        states = model().vision_tower(pixel_values=pixels, output_hidden_states=True).hidden_states
    for layer, state in enumerate(states):
        assert farthest(state[:, :40], golden()[1][f"clip_hidden_states_frame0/{layer}"]) < TOKENS


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["temporal", "temporal_spatial_pool"])
def test_four_training_steps_are_the_published_ones(layout):
    published, tensors = golden_json("train.json")[layout], load_file(GOLDEN / "train.safetensors")
    trained = golden_model(visual_layout=layout).train()
    trained.vision_tower.requires_grad_(requires_grad=False)
    with torch.no_grad():
        video = trained.get_video_features(synthetic_pixels((2, 100, 3, 224, 224), seed=2))
    batch = training_batch(published["samples"], video.shape[1])
    parameters = [p for p in trained.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0)
    losses = []
    for step in range(4):
        out = trained(**batch, video_features=video)
        optimizer.zero_grad()
        out.loss.backward()
        if step == 0:
            assert list(out.logits.shape) == [*published["logits_shape"][:2], 1001]
            logits = out.logits.detach()[..., :1000]
            assert farthest(logits[:, :8], tensors[f"{layout}/logits_first8"]) < LOGITS
            real = batch["attention_mask"][:, -8:].bool()  # nothing is asked of padding
            assert real.any(dim=1).sum() == 1
            assert farthest(logits[:, -8:][real], tensors[f"{layout}/logits_last8"][real]) < LOGITS
            check_gradients(trained, published["grad_norms_step0"])
        norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        if step == 0:
            assert norm.item() == pytest.approx(published["total_grad_norm_step0"], rel=1e-4)
            clipped = tensors[f"{layout}/grad_mm_projector_bias_clipped"]
            assert farthest(trained.projector.bias.grad, clipped) < 1e-5
        optimizer.step()
        losses.append(out.loss.item())
    assert losses == pytest.approx(published["losses_adamw_lr1e-3_clip1"], abs=1e-4)
    after = tensors[f"{layout}/mm_projector_bias_after_4_steps"]
    assert farthest(trained.projector.bias.detach(), after) < 1e-4


def test_a_text_only_row_in_a_training_batch():
    mixed = golden_json("train.json")["temporal"]["mixed_batch"]
    model().config.visual_layout = "temporal"
    with torch.no_grad():
        video = model().get_video_features(synthetic_pixels((2, 100, 3, 224, 224), seed=2))
        batch = training_batch(mixed["samples"], 100)
        one_each = model()(**batch, video_features=video)
        in_order = model()(**batch, video_features=video[:1])
    assert list(one_each.logits.shape[:2]) == mixed["logits_shape"][:2]
    assert batch["labels"].tolist() == mixed["labels"]
    assert one_each.loss.item() == pytest.approx(mixed["loss"], abs=1e-4)
    assert torch.equal(one_each.logits, in_order.logits)


def training_batch(samples, num_visual_tokens):
    results = golden_json("label_masks.json")["results"]["v1"]
    rows, labels = [], []
    for sample in samples:
        ids, marks = results[sample]["input_ids"], results[sample]["labels"]
        at = ids.index(-200) if -200 in ids else 0
        fill = num_visual_tokens if -200 in ids else 0
        rows.append([*ids[:at], *[1000] * fill, *ids[at + (fill > 0) :]])
        labels.append([*marks[:at], *[-100] * fill, *marks[at + (fill > 0) :]])
    length = max(map(len, rows))
    return {
        "input_ids": torch.tensor([row + [0] * (length - len(row)) for row in rows]),
        "labels": torch.tensor([row + [-100] * (length - len(row)) for row in labels]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows]),
    }


def check_gradients(trained, published):
    norms = {
        published_name(name): parameter.grad.norm().item()
        for name, parameter in trained.named_parameters()
        if published_name(name) is not None
    }
    assert norms == pytest.approx(published, rel=1e-4, abs=1e-6)
