"""An untrained LITA from a language model, a vision tower and a projector file."""

import pytest
import torch

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
