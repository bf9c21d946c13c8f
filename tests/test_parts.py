"""An untrained LITA from a language model, a vision tower and a projector file."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    AutoTokenizer,
    Qwen2Config,
    Qwen2ForCausalLM,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from litakit.modeling import LitaForConditionalGeneration
from litakit.modeling.weights import read_file
from tests.test_checkpoints import CLIP, EMBEDDING, HEAD, VICUNA, WEIGHTS, projector, save_torch


def test_parts_keep_their_weights_and_new_rows_are_the_mean_of_the_old(tmp_path):
    file = tmp_path / "mm_projector.bin"
    save_torch(projector(), file)
    model = LitaForConditionalGeneration.from_parts(llm=VICUNA, vision=CLIP, projector=file)
    llm, clip, state = read_file(VICUNA / WEIGHTS), read_file(CLIP / WEIGHTS), model.state_dict()
    assert model.config.time_token_ids == list(range(900, 1000))
    assert model.config.video_token_id == 1000
    for name in (EMBEDDING, HEAD):
        rows = state["language_model." + name]
        assert rows.shape == (1001, 64)
        assert torch.equal(rows[:900], llm[name].float())
        assert torch.allclose(rows[900:], llm[name].float().mean(0).expand(101, 64), atol=1e-6)
    for name, tensor in llm.items():
        if "layers" in name and "inv_freq" not in name:
            assert torch.equal(state["language_model." + name], tensor.float()), name
    for name, tensor in clip.items():
        assert torch.equal(state[name.replace("vision_model.", "vision_tower.")], tensor.float()), name
    for name, tensor in projector().items():
        assert torch.equal(state[name.replace("model.mm_projector", "projector")], tensor.float())


def test_without_a_file_the_projector_is_random_by_its_seed():
    first, same, other = (
        LitaForConditionalGeneration.from_parts(llm=VICUNA, vision=CLIP, seed=seed).projector.weight
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_the_generator_of_others_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model = LitaForConditionalGeneration.from_parts(llm=VICUNA, vision=CLIP, dtype=torch.bfloat16)
    assert torch.equal(torch.rand(3), expected)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert not any(parameter.is_meta for parameter in [*model.parameters(), *model.buffers()])


def test_a_part_whose_weights_are_not_all_there_is_refused(tmp_path):
    folder = tmp_path / "llm"
    shutil.copytree(VICUNA, folder, ignore=shutil.ignore_patterns(WEIGHTS))
    lost = "model.layers.1.mlp.up_proj.weight"
    save_torch({name: t for name, t in read_file(VICUNA / WEIGHTS).items() if name != lost}, folder / WEIGHTS)
    with pytest.raises(ValueError) as caught:
        LitaForConditionalGeneration.from_parts(llm=folder, vision=CLIP)
    assert str(caught.value) == f"{folder}: lacks 1 tensors of LlamaForCausalLM: {lost}"


def test_parts_of_other_makes_with_an_mlp_projector_come_back(tmp_path):
    torch.manual_seed(0)
    llm, vision, file = tmp_path / "llm", tmp_path / "siglip", tmp_path / "mm_projector.safetensors"
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    text = Qwen2Config(vocab_size=960, num_key_value_heads=2, tie_word_embeddings=True, **shape)
    Qwen2ForCausalLM(text).save_pretrained(llm)
    AutoTokenizer.from_pretrained(VICUNA).save_pretrained(llm)
    SiglipVisionModel(SiglipVisionConfig(image_size=28, patch_size=14, **shape)).save_pretrained(vision)
    sizes = {"0.weight": (16, 16), "0.bias": (16,), "2.weight": (16, 16), "2.bias": (16,)}
    save_file({f"model.mm_projector.{name}": torch.randn(size) for name, size in sizes.items()}, file)
    model = LitaForConditionalGeneration.from_parts(llm=llm, vision=vision, projector=file, num_frames=5)
    assert model.config.projector == "mlp"  # as the file says
    assert torch.equal(model.projector[2].bias, load_file(file)["model.mm_projector.2.bias"])
    fresh = LitaForConditionalGeneration.from_parts(llm=llm, vision=vision, projector_kind="mlp")
    assert fresh.projector[0].weight.std() > 0.01
    rows, old = model.get_input_embeddings().weight, AutoModel.from_pretrained(llm).embed_tokens.weight
    assert model.get_output_embeddings().weight is rows
    assert len(rows) == 1001  # 60 of the 960 rows were spare
    assert torch.equal(rows[:900], old[:900])
    torch.testing.assert_close(rows[900:], old.mean(0).expand(101, -1))
    model.save_pretrained(tmp_path / "lita")
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path / "lita")
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_markers_come_before_the_time_tokens():
    model = LitaForConditionalGeneration.from_parts(
        llm=VICUNA, vision=CLIP, use_im_patch=True, use_im_start_end=True, num_time_tokens=10
    )
    assert model.config.time_token_ids == list(range(903, 913))
    assert model.get_input_embeddings().weight.shape == (914, 64)


def test_what_does_not_fit_is_refused(tmp_path):
    file = tmp_path / "mm_projector.bin"
    save_torch(
        {"model.mm_projector.weight": torch.zeros(64, 8), "model.mm_projector.bias": torch.zeros(64)}, file
    )
    with pytest.raises(ValueError) as caught:
        LitaForConditionalGeneration.from_parts(llm=VICUNA, vision=CLIP, projector=file)
    assert str(caught.value) == (
        f"{file}: mm_projector.weight has the shape (64, 8), but vision tower and language model need "
        "(64, 64)"
    )
    save_torch({"other": torch.zeros(1)}, file)
    with pytest.raises(ValueError) as caught:
        LitaForConditionalGeneration.from_parts(llm=VICUNA, vision=CLIP, projector=file)
    assert str(caught.value) == (
        f"{file}: expected tensors named mm_projector.weight and mm_projector.bias, found ['other']"
    )
    with pytest.raises(FileNotFoundError) as missing:
        LitaForConditionalGeneration.from_parts(llm=tmp_path, vision=CLIP)
    assert str(missing.value) == f"{tmp_path}: expected the folder of a model with config.json"
