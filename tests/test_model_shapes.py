"""Vision towers, language models and switches of any make; saving, loading, training machinery."""

import pytest
import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText

from litakit.modeling import (
    LAYOUTS,
    LitaConfig,
    LitaForConditionalGeneration,
    choose_attention,
    pool_visual_tokens,
)
from tests._tiny import NUM_WORDS, tiny_ids, tiny_model, tiny_pixels

MAKES = [("clip", "llama"), ("siglip", "qwen2"), ("clip", "qwen2"), ("siglip", "llama")]


def patches_of(model, pixels):
    """Features of the last layer but one, CLS token left in, (T, S, D)."""
    return model.vision_tower(pixel_values=pixels, output_hidden_states=True).hidden_states[-2]


@pytest.mark.parametrize("projector", ["linear", "mlp"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("vision", "text"), MAKES[:2])
def test_any_make_layout_and_projector(vision, text, layout, projector):
    model = tiny_model(vision, text, visual_layout=layout, projector=projector)
    pixels = tiny_pixels(2)
    with torch.no_grad():
        features = model.get_video_features(pixels)
        tokens = model.get_visual_tokens(features)
        raw = torch.stack([patches_of(model, video)[:, -16:] for video in pixels])
        expected = pool_visual_tokens(model.projector(raw), layout)  # projected first, for both
    width = 16 if projector == "linear" else 24
    assert features.shape == (2, model.config.num_visual_tokens, width)
    assert model.config.feature_width == width
    torch.testing.assert_close(tokens, expected, atol=2e-5, rtol=1e-4)


def test_an_mlp_projector_does_not_commute_with_pooling():
    model = tiny_model(projector="mlp")
    with torch.no_grad():
        raw = patches_of(model, tiny_pixels()[0])[None, :, 1:]
        pooled_first = model.projector(pool_visual_tokens(raw, "temporal_spatial_pool"))
        tokens = model.get_visual_tokens(model.get_video_features(tiny_pixels()))
    assert (pooled_first - tokens).abs().max() > 0.01


def test_cls_token_kept_or_left_out():
    pixels = tiny_pixels()
    for layout, count in {
        "spatial": 17,
        "temporal": 6,
        "temporal_spatial": 23,
        "temporal_spatial_pool": 22,
    }.items():
        model = tiny_model(visual_layout=layout, vision_feature_select="cls_patch")
        with torch.no_grad():
            features = model.get_video_features(pixels)
            raw = patches_of(model, pixels[0])[None]
        assert model.config.num_visual_tokens == count
        torch.testing.assert_close(features, pool_visual_tokens(raw, layout))
    with pytest.raises(ValueError, match="'cls_patch' needs 17 features a frame, the vision tower gives 16"):
        tiny_model("siglip", vision_feature_select="cls_patch").get_video_features(pixels)


@pytest.mark.parametrize(("select", "count"), [("patch", 96), ("cls_patch", 102)])
def test_input_type_image_passes_every_patch_on(select, count):
    model = tiny_model(input_type="image", vision_feature_select=select)
    with torch.no_grad():
        features = model.get_video_features(tiny_pixels())
        raw = patches_of(model, tiny_pixels()[0])
    assert model.config.num_visual_tokens == count == features.shape[1]
    torch.testing.assert_close(features[0], (raw if select == "cls_patch" else raw[:, 1:]).flatten(0, 1))


@pytest.mark.parametrize("chunk_frames", [1, 4, 100])
def test_the_vision_tower_sees_few_frames_at_once(chunk_frames):
    model = tiny_model()
    seen = []
    model.vision_tower.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(len(kwargs["pixel_values"])), with_kwargs=True
    )
    with torch.no_grad():
        features = model.get_video_features(tiny_pixels(2), chunk_frames=chunk_frames)
        torch.testing.assert_close(features, model.get_video_features(tiny_pixels(2)))
    assert max(seen[: -(-6 // chunk_frames) * 2]) == min(chunk_frames, 6)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("vision", "text"), MAKES)
def test_saved_and_loaded(tmp_path, vision, text, tied):
    model = tiny_model(vision, text, tied=tied, projector="mlp", visual_layout="spatial_pool")
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as weights:
        assert ("language_model.lm_head.weight" in weights.keys()) != tied  # noqa: SIM118
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert type(loaded) is LitaForConditionalGeneration
    assert type(AutoModel.from_pretrained(tmp_path)) is LitaForConditionalGeneration
    assert type(AutoConfig.from_pretrained(tmp_path)) is LitaConfig
    assert loaded.config.to_dict() == {**model.config.to_dict(), **volatile(loaded.config)}
    assert (loaded.get_input_embeddings().weight is loaded.get_output_embeddings().weight) == tied
    ids = torch.tensor([tiny_ids(model, 7)])
    options = {"pixel_values_videos": tiny_pixels(), "max_new_tokens": 8}
    assert torch.equal(loaded.generate(ids, **options), model.generate(ids, **options))
    assert loaded.generation_config.eos_token_id == 2


def volatile(config):
    """What transformers itself writes into a configuration on loading."""
    whole = config.to_dict()
    return {
        name: whole[name]
        for name in ("_name_or_path", "dtype", "vision_config", "text_config")
        if name in whole
    }


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(tmp_path, dtype):
    tiny_model().save_pretrained(tmp_path)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    ids = torch.tensor([tiny_ids(model, 7)])
    with torch.no_grad():
        logits = model(input_ids=ids, pixel_values_videos=tiny_pixels()).logits
    assert logits.dtype == dtype
    assert (logits[..., 70] == torch.finfo(dtype).min).all()
    assert torch.isfinite(logits.float().logsumexp(-1)).all()
    out = model.generate(
        ids, pixel_values_videos=tiny_pixels(), max_new_tokens=6, do_sample=True, temperature=0.2
    )
    assert 70 not in out[0, ids.shape[1] :]


def test_a_device_map_keeps_layers_whole(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    parts = {"vision_tower": "cpu", "projector": "cpu", "language_model": "cpu"}
    model = AutoModelForImageTextToText.from_pretrained(tmp_path, device_map=parts)
    assert {"CLIPEncoderLayer", "LlamaDecoderLayer"} <= set(model._no_split_modules)
    ids = torch.tensor([tiny_ids(model, 7)])
    options = {"pixel_values_videos": tiny_pixels(), "max_new_tokens": 6}
    assert torch.equal(model.generate(ids, **options), tiny_model().generate(ids, **options))


def test_new_rows_are_the_mean_of_the_old():
    model = tiny_model("siglip", "qwen2", tied=True)
    old = model.get_input_embeddings().weight.detach().clone()
    model.grow_vocabulary(75)
    grown = model.get_input_embeddings().weight.detach()
    assert (
        grown.shape[0] == 75 == model.config.text_config.vocab_size == model.language_model.config.vocab_size
    )
    assert torch.equal(grown[:71], old)
    torch.testing.assert_close(grown[71:], old.mean(dim=0).expand(4, -1))
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    with pytest.raises(ValueError, match="has 75 rows and can only grow, got num_tokens=70"):
        model.grow_vocabulary(70)


def test_gradient_checkpointing_changes_no_gradient():
    plain, saving = tiny_model().train(), tiny_model().train()
    newer = "activation_checkpointing_enable"  # its name since transformers 5.20 or so
    getattr(saving, newer if hasattr(saving, newer) else "gradient_checkpointing_enable")()
    assert saving.language_model.model.gradient_checkpointing
    ids = torch.tensor([tiny_ids(plain, 7, 8, 9)])
    labels = ids.where(ids < NUM_WORDS, -100)
    for model in (plain, saving):
        model(input_ids=ids, labels=labels, pixel_values_videos=tiny_pixels()).loss.backward()
    pairs = zip(plain.named_parameters(), saving.named_parameters(), strict=True)
    compared = [
        torch.testing.assert_close(a.grad, b.grad, atol=1e-5, rtol=1e-4)
        for (_, a), (_, b) in pairs
        if a.grad is not None
    ]
    assert len(compared) > 40


def test_training_without_a_video_still_reaches_the_projector():
    model = tiny_model().train()
    ids = torch.tensor([[1, 5, 6, 7]])
    out = model(input_ids=ids, labels=ids)
    out.loss.backward()
    assert model.projector.weight.grad is not None
    assert model.projector.weight.grad.abs().max() == 0
    with torch.no_grad():
        torch.testing.assert_close(out.logits, model.eval()(input_ids=ids).logits)


def test_the_place_learns_nothing():
    model = tiny_model().train()
    ids = torch.tensor([tiny_ids(model, 7, 8)])
    model(input_ids=ids, labels=ids.where(ids != 70, -100), pixel_values_videos=tiny_pixels()).loss.backward()
    assert model.get_input_embeddings().weight.grad[70].abs().max() == 0
    assert model.get_output_embeddings().weight.grad[70].abs().max() == 0
    assert model.get_output_embeddings().weight.grad[7].abs().max() > 0


def test_embeddings_instead_of_ids():
    model = tiny_model()
    ids = torch.tensor([[1, 5, 6]])
    embeds = model.get_input_embeddings()(ids)
    with torch.no_grad():
        assert torch.equal(model(inputs_embeds=embeds).logits, model(input_ids=ids).logits)
        as_tuple = model(inputs_embeds=embeds, return_dict=False)
    assert isinstance(as_tuple, tuple)
    with pytest.raises(ValueError, match="a video needs input_ids"):
        model(inputs_embeds=embeds, pixel_values_videos=tiny_pixels())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_generation_on_a_gpu():
    model = tiny_model().to("cuda")
    ids = torch.tensor([tiny_ids(model, 7)])
    options = {"pixel_values_videos": tiny_pixels(), "max_new_tokens": 6}
    on_gpu = model.generate(ids.cuda(), **options)
    assert on_gpu.tolist() == tiny_model().generate(ids, **options).tolist()
    reason = "flash_attention_2", "sdpa"
    assert choose_attention("auto", torch.bfloat16, "cuda") in reason
