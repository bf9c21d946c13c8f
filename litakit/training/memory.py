"""What a training step takes of a GPU's memory, on paper."""

from __future__ import annotations

from dataclasses import dataclass

from litakit.training.blueprint import Blueprint
from litakit.training.config import TrainConfig, Zero

GIB = 2**30

LIVE_WEIGHTS = 1_000_000_000
"""Weights that ZeRO-3 holds gathered at most: DeepSpeed's stage3_max_live_parameters."""

OVERHEAD_GIB = 1.5
"""For CUDA itself, NCCL's buffers and what lies between allocations: assumed, not derived."""

FOUR_BIT_BYTES = 0.5 + 4 / 64
"""Of a quantised weight, with its share of a float32 scale for each 64."""
FOUR_BIT_DOUBLE_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""The same with scales in 8 bit, and a float32 scale for each 256 of them."""

VISION_CHUNK = 16
"""Frames that go through the vision tower at once."""


@dataclass(frozen=True)
class Memory:
    """GiB of one GPU, at the longest batch.

    Attributes:
        weights: in the type that is computed in; what stays of them on the GPU under ZeRO-3, and what it
            gathers.
        gradients: of what learns.
        optimizer: AdamW's two means and, beside shorter types and under ZeRO-2 and 3, weights in fp32.
        activations: kept for the backward pass: the inputs of all layers and the inside of one with
            checkpointing, else the inside of all.
        logits: over the vocabulary, with what the loss makes of them.
        pixels: frames and the vision tower's hidden states, where a step reads pixels.
        overhead: for everything else.
        host: GiB of the host's memory for each GPU, of what is offloaded.
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    pixels: float
    overhead: float
    host: float

    @property
    def total(self) -> float:
        """All of it on the GPU, in GiB."""
        parts = (self.weights, self.gradients, self.optimizer, self.activations, self.logits, self.pixels)
        return sum(parts) + self.overhead


def memory_of(
    blueprint: Blueprint, config: TrainConfig, zero: Zero, num_gpus: int, num_tokens: int, *, pixels: bool
) -> Memory:
    """Return what a step takes on each of some GPUs.

    Weights, gradients and optimiser states are counted as in the ZeRO paper (arXiv 1910.02054, section 3),
    with DeepSpeed's copies: stages 2 and 3 keep weights in fp32 for the optimiser even where they are
    computed with in fp32, and stage 0 adds up bf16 gradients in fp32. On a single GPU ZeRO can so take more
    than it saves; on two and more each stage takes at most what the one below takes.

    Args:
        blueprint: of the model.
        config: how it is trained.
        zero: stage of ZeRO, whatever the config says.
        num_gpus: GPUs, one process each.
        num_tokens: of the longest sample; a batch is counted as made of such.
        pixels: whether a step reads pixels.

    Raises:
        ValueError: LoRA targets that are names of no layer.
    """
    size = 4 if config.precision == "fp32" else 2
    num_trained = blueprint.num_trained(config)
    weights = _weight_bytes(blueprint, config, size)
    gradients: float = num_trained * (size + (4 if zero == 0 and config.precision == "bf16" else 0))
    optimizer: float = num_trained * (8 if zero == 0 and config.precision == "fp32" else 12)
    host = 0.0
    if zero >= 2:
        gradients /= num_gpus
        optimizer /= num_gpus
    if config.offload != "none" and zero >= 2:
        host, gradients, optimizer = gradients + optimizer, 0.0, 0.0
    if zero == 3:
        kept = weights / num_gpus
        if config.offload == "all":
            host, kept = host + kept, 0.0
        weights = min(weights, kept + LIVE_WEIGHTS * size)
    return Memory(
        weights=weights / GIB,
        gradients=gradients / GIB,
        optimizer=optimizer / GIB,
        activations=_activation_bytes(blueprint, config, size, num_tokens) / GIB,
        # The loss makes of them a float32 copy or its logarithms, and the gradients of those.
        logits=config.batch_size * num_tokens * _num_rows(blueprint) * (2 * size + 8) / GIB,
        pixels=_pixel_bytes(blueprint, config, size) / GIB if pixels else 0.0,
        overhead=OVERHEAD_GIB,
        host=host / GIB,
    )


def _num_rows(blueprint: Blueprint) -> int:
    return int(blueprint.config.text_config.vocab_size)


def _weight_bytes(blueprint: Blueprint, config: TrainConfig, size: int) -> float:
    total = blueprint.num_llm + blueprint.num_projector + blueprint.num_vision + blueprint.num_lora(config)
    if config.quantize == "none":
        return total * size
    short = FOUR_BIT_DOUBLE_BYTES if config.double_quant else FOUR_BIT_BYTES
    packed = blueprint.num_layer_weights
    return packed * short + (total - packed) * size


def _activation_bytes(blueprint: Blueprint, config: TrainConfig, size: int, num_tokens: int) -> float:
    """Bytes that wait for the backward pass.

    The inside of a layer is counted as the inputs and outputs of its linear layers, what its two norms keep
    in float32, and for "eager" attention the scores of all heads.
    """
    tokens = config.batch_size * num_tokens
    values = sum(linear.num_inputs + linear.num_outputs for linear in blueprint.linears)
    inside = size * values / blueprint.num_layers + 2 * 4 * blueprint.width
    if config.attention == "eager":
        inside += size * 2 * num_tokens * int(blueprint.config.text_config.num_attention_heads)
    layers = blueprint.num_layers
    inputs = size * layers * blueprint.width
    return tokens * (inputs + inside if config.gradient_checkpointing else layers * inside)


def _pixel_bytes(blueprint: Blueprint, config: TrainConfig, size: int) -> float:
    vision = blueprint.config.vision_config
    frames = config.batch_size * blueprint.config.num_frames
    pixels = frames * 3 * vision.image_size**2 * 4
    states = vision.num_hidden_layers + 1
    return pixels + VISION_CHUNK * blueprint.num_vision_positions * vision.hidden_size * states * size
