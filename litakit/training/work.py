"""Work: the operations that a sample takes in training, and how many a GPU does in a second."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from litakit.training.blueprint import Blueprint
from litakit.training.config import TrainConfig


class Gpu(NamedTuple):
    """A GPU: dense peak TFLOP/s by its maker's data sheet, and the GiB that a process finds on it."""

    bf16: float
    tf32: float
    fp32: float
    gib: float

    def tflops(self, config: TrainConfig) -> float:
        """Return the peak in the type that a config computes in, in TFLOP/s."""
        if config.precision != "fp32":
            return self.bf16
        return self.tf32 if config.tf32 else self.fp32


GPUS: Mapping[str, Gpu] = MappingProxyType(
    {
        "a100-40gb": Gpu(bf16=312.0, tf32=156.0, fp32=19.5, gib=39.4),
        "a100-80gb": Gpu(bf16=312.0, tf32=156.0, fp32=19.5, gib=79.2),
        "h100-80gb": Gpu(bf16=989.4, tf32=494.7, fp32=66.9, gib=79.2),
        "h200-141gb": Gpu(bf16=989.4, tf32=494.7, fp32=66.9, gib=139.8),
        "rtx-4090-24gb": Gpu(bf16=165.2, tf32=82.6, fp32=82.6, gib=23.6),
        "l40s": Gpu(bf16=362.1, tf32=183.2, fp32=91.6, gib=44.4),
    }
)


def language_flop(
    blueprint: Blueprint, config: TrainConfig, num_tokens: float, video_share: float = 1.0
) -> float:
    """Return the operations that the language model and the projector spend on a sample, in training.

    Forward, backward to inputs and to the weights that learn, and forward again where activations are
    recomputed. Each token attends to each other, padding included. The head, whose rows of time tokens always
    learn, is not recomputed.

    Args:
        blueprint: of the model.
        config: what learns, and how.
        num_tokens: of the sample, padded.
        video_share: share of the samples that have a video.
    """
    again = 1 if config.gradient_checkpointing else 0
    layers = 2 * blueprint.num_layer_weights * num_tokens
    scores = 4 * blueprint.attention_width * blueprint.num_layers * num_tokens**2
    head = 2 * blueprint.num_head_weights * num_tokens
    updates = 2 * blueprint.num_lora(config) * num_tokens
    projector = 2 * blueprint.num_projector * blueprint.config.num_visual_tokens * video_share
    return (
        layers * (3 + again if config.learns_llm else 2 + again)
        + (scores + updates) * (3 + again)
        + head * 3
        + projector * (3 if config.learns_projector else 1)
    )


def vision_flop(blueprint: Blueprint) -> float:
    """Return the operations of the vision tower on all frames of a video, forward."""
    vision = blueprint.config.vision_config
    positions = blueprint.num_vision_positions
    weights = 2 * blueprint.num_vision_weights * positions
    scores = 4 * vision.hidden_size * vision.num_hidden_layers * positions**2
    return float(blueprint.config.num_frames * (weights + scores))
