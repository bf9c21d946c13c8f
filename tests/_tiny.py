"""Tiny random LITAs of any make, for tests that need no golden values."""

from typing import Any

import torch
from transformers import CLIPVisionConfig, LlamaConfig, PreTrainedConfig, Qwen2Config, SiglipVisionConfig

from litakit.modeling import LitaConfig, LitaForConditionalGeneration

VISION_SHAPE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
TEXT_SHAPE = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4}
NUM_WORDS = 60


def tiny_model(
    vision: str = "clip", text: str = "llama", seed: int = 0, **changes: Any
) -> LitaForConditionalGeneration:
    """A random model of 6 frames, a 4 x 4 grid, 60 words, 10 time tokens (60-69) and the video's row 70."""
    torch.manual_seed(seed)
    tied = changes.pop("tied", False)
    towers: dict[str, type[PreTrainedConfig]] = {"clip": CLIPVisionConfig, "siglip": SiglipVisionConfig}
    texts: dict[str, type[PreTrainedConfig]] = {"llama": LlamaConfig, "qwen2": Qwen2Config}
    config = LitaConfig(
        vision_config=towers[vision](image_size=16, patch_size=4, **VISION_SHAPE),
        text_config=texts[text](
            vocab_size=NUM_WORDS + 11,
            num_key_value_heads=2,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            tie_word_embeddings=tied,
            **TEXT_SHAPE,
        ),
        num_frames=changes.pop("num_frames", 6),
        num_time_tokens=10,
        **changes,
    )
    model = LitaForConditionalGeneration(config).eval()
    for parameter in model.parameters():  # initial weights are so small that every token looks alike
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def tiny_pixels(num_videos: int = 1, seed: int = 1, num_frames: int = 6) -> torch.Tensor:
    """Random frames for :func:`tiny_model`, (V, 6, 3, 16, 16)."""
    return torch.randn(num_videos, num_frames, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def tiny_ids(model: LitaForConditionalGeneration, *words: int, before: tuple[int, ...] = (1, 5)) -> list[int]:
    """Ids of a prompt: some words, the places of a video, the given words."""
    return [*before, *[model.config.video_token_id] * model.config.num_visual_tokens, *words]
