"""The golden checkpoint as our model, its weights mapped by hand, not by litakit.modeling.checkpoints."""

import functools
import hashlib
import json
from io import BytesIO
from typing import Any

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, LlamaConfig

from litakit.modeling import LitaConfig, LitaForConditionalGeneration
from tests.conftest import GOLDEN

CHECKPOINT = GOLDEN / "ckpt" / "lita-vicuna-v1-3-tiny-temporal_spatial_pool"
VISION = GOLDEN / "ckpt" / "clip-tiny-patch14-224"


def golden_json(name: str) -> Any:
    """One of the golden JSON files."""
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


def golden_config(**changes: Any) -> LitaConfig:
    """Configuration of the golden model, the video's row appended."""
    published = json.loads((CHECKPOINT / "config.json").read_text(encoding="utf-8"))
    vision = json.loads((VISION / "config.json").read_text(encoding="utf-8"))
    text_names = [
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "num_hidden_layers",
        "rms_norm_eps",
    ]
    text = LlamaConfig(
        vocab_size=1001,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **{name: published[name] for name in text_names},
    )
    vision_names = [
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "num_hidden_layers",
        "patch_size",
    ]
    vision_config = CLIPVisionConfig(
        hidden_act="quick_gelu", image_size=224, **{name: vision[name] for name in vision_names}
    )
    return LitaConfig(vision_config=vision_config, text_config=text, **changes)


def golden_model(**changes: Any) -> LitaForConditionalGeneration:
    """The golden model in float32."""
    model = LitaForConditionalGeneration(golden_config(**changes))
    raw = torch.load(CHECKPOINT / "pytorch_model.bin", weights_only=True)
    state = model.state_dict()
    for key, value in raw.items():
        if key.endswith(("rotary_emb.inv_freq", "position_ids")):
            continue
        target = state[_our_name(key, state)]
        if key in ("model.embed_tokens.weight", "lm_head.weight"):
            target = target[:1000]
        assert target.shape == value.shape, key
        target.copy_(value)
    return model.eval()


def _our_name(key: str, state: dict[str, Tensor]) -> str:
    if key.startswith("model.mm_projector."):
        return key.replace("model.mm_projector.", "projector.")
    if key.startswith("model.vision_tower.vision_tower."):
        name = key.removeprefix("model.vision_tower.vision_tower.")
        return (
            f"vision_tower.{name if f'vision_tower.{name}' in state else name.removeprefix('vision_model.')}"
        )
    return f"language_model.{key}"


def published_name(name: str) -> str | None:
    """The published name of one of our parameters; None for the vision tower's."""
    if name.startswith("vision_tower."):
        return None
    return name.replace("projector.", "model.mm_projector.").removeprefix("language_model.")


def synthetic_pixels(shape: tuple[int, ...], seed: int) -> Tensor:
    """The golden data's synthetic pixels, from their formula."""
    x = np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64(seed * 1000003)
    mask = np.uint64(0xFFFFFFFF)
    x = (x * np.uint64(2654435761)) & mask
    x ^= x >> np.uint64(15)
    x = (x * np.uint64(2246822519)) & mask
    x ^= x >> np.uint64(13)
    return torch.from_numpy((x / 2**32 * 4 - 2).astype(np.float32).reshape(shape))


@functools.cache
def golden_pixels(name: str) -> Tensor:
    """One of the inputs of model.json, (1, 100, 3, 224, 224), made without litakit: its hash is checked."""
    if name == "synthetic":
        pixels = synthetic_pixels((1, 100, 3, 224, 224), seed=1)
    else:
        frames = _frames_of_folder() if name == "frames_b" else _frames_of_video()
        chosen = [frames[index] for index in np.round(np.linspace(0, len(frames) - 1, 100)).astype(int)]
        images = CLIPImageProcessorPil.from_pretrained(VISION)(chosen, return_tensors="np")["pixel_values"]
        pixels = torch.from_numpy(np.stack(images).astype(np.float32))[None]
    digest = hashlib.sha256(pixels.numpy().tobytes()).hexdigest()
    assert digest == golden_json("model.json")["inputs"][name]["sha256_float32"]
    return pixels


def _frames_of_folder() -> list[Image.Image]:
    files = sorted((GOLDEN / "videos" / "frames" / "v_bbbbbbbbbb2").glob("*.jpg"))
    return [Image.open(BytesIO(file.read_bytes())).convert("RGB") for file in files]


def _frames_of_video() -> list[Image.Image]:
    with av.open(str(next((GOLDEN / "videos").glob("a*")))) as container:
        wanted = set(np.round(np.linspace(0, 1499, 100)).astype(int).tolist())
        frames = [
            frame.to_image() if index in wanted else None
            for index, frame in enumerate(container.decode(video=0))
        ]
    assert len(frames) == 1500
    return frames


def places(ids: list[int], num_visual_tokens: int) -> Tensor:
    """Golden ids as a batch of one: -200, the published placeholder, becomes the video's places."""
    filled: list[int] = []
    for token in ids:
        filled += [1000] * num_visual_tokens if token == -200 else [token]
    return torch.tensor([filled])
