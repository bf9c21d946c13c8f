"""Every number of the recipe, and the untrained model that it starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, LlamaConfig

from litakit.modeling import LitaConfig, LitaForConditionalGeneration, LitaProcessor
from litakit.modeling.tokenizer import LitaTokenizer

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

LOOKING_BACK = ((1, 2, 3, 5), (1, 4))
"""How far back heads of the first layers look to begin with."""
LOUDNESS = 6.5


@dataclass(frozen=True)
class TinyRecipe:
    """Sizes, steps and seeds; all lengths of time are counted in optimiser steps."""

    seed: int = 0
    image_size: int = 64
    patch_size: int = 8
    vision_width: int = 160
    vision_layers: int = 4
    """As published, the features are the hidden state before the last layer: one layer is never used."""
    vision_steps: int = 3000
    vision_lr: float = 1e-3
    vision_pooled_from: int = 300
    """Until then only patches are supervised; then the mean over the patches, which fast tokens are, too."""
    steadying_steps: int = 800
    steadying_lr: float = 4e-4
    """Then frames come in pairs, and small changes between them are to be told."""
    num_pieces: int = 800
    width: int = 192
    layers: int = 6
    heads: int = 6
    num_scenes: int = 6000
    num_validation_scenes: int = 50
    watching_steps: int = 3000
    watching_lr: float = 1.5e-3
    watched: int = 24
    """Videos a step of the stage in which the language model sees fast tokens alone."""
    steps: int = 2400
    pointing_from: int = 300
    """Until then the language model learns what questions ask for; then heads start to look for it."""
    sharpened_from: int = 500
    """From then on those heads make up their minds: the mean of all frames that may be meant is none."""
    sequences: int = 8
    questions: int = 10
    lr: float = 1e-3
    warmup_steps: int = 100


def untrained_processor(recipe: TinyRecipe, tokenizer: LitaTokenizer) -> LitaProcessor:
    """The processor of litakit-tiny."""
    image_processor = CLIPImageProcessorPil(
        size={"shortest_edge": recipe.image_size},
        crop_size={"height": recipe.image_size, "width": recipe.image_size},
        image_mean=list(CLIP_MEAN),
        image_std=list(CLIP_STD),
    )
    return LitaProcessor.from_config(tiny_config(recipe, len(tokenizer)), image_processor, tokenizer)


def untrained_model(recipe: TinyRecipe, num_tokens: int) -> LitaForConditionalGeneration:
    """The model with seeded random weights.

    The rows of the time tokens start on a smooth curve, so that neighbours in time are neighbours in the
    embedding from the first step on. And some heads start by looking a fixed number of places back, so that
    what changes from frame to frame can be seen at once.
    """
    torch.manual_seed(recipe.seed)
    model = LitaForConditionalGeneration(tiny_config(recipe, num_tokens))
    ids = torch.tensor(model.config.time_token_ids)
    phase = torch.linspace(0, torch.pi, len(ids))[:, None] * torch.arange(1, 17)[None]
    curve = torch.cat([phase.sin(), phase.cos()], 1) @ torch.randn(32, recipe.width)
    curve = 0.02 * curve / curve.std()
    with torch.no_grad():
        for table in (model.get_input_embeddings(), model.get_output_embeddings()):
            table.get_parameter("weight")[ids] = curve
        for layer, offsets in zip(model.language_model.model.layers, LOOKING_BACK, strict=False):
            for head, offset in enumerate(offsets[: recipe.heads]):
                _look_back(layer.self_attn, head, offset)
    return model


def _look_back(attention: Any, head: int, offset: int) -> None:
    """Let a head start by looking at the place `offset` before its own, whatever stands there.

    Rotary positions turn pairs of dimensions by multiples of fixed angles: a key whose bias is turned by
    `offset` of them ahead of the query's meets it best at that distance.
    """
    config = attention.config
    size = config.hidden_size // config.num_attention_heads
    rows = slice(head * size, (head + 1) * size)
    angles = config.rope_parameters["rope_theta"] ** (-torch.arange(size // 2) / (size // 2))
    turned = offset * angles
    attention.q_proj.weight[rows], attention.k_proj.weight[rows] = 0.0, 0.0
    attention.q_proj.bias[rows] = LOUDNESS * torch.cat([torch.ones(size // 2), torch.zeros(size // 2)])
    attention.k_proj.bias[rows] = LOUDNESS * torch.cat([turned.cos(), turned.sin()])
    scale = config.hidden_size**-0.5
    nn.init.normal_(attention.v_proj.weight[rows], std=scale)
    nn.init.normal_(attention.o_proj.weight[:, rows], std=scale)


def tiny_config(recipe: TinyRecipe, num_tokens: int) -> LitaConfig:
    """The configuration; `num_tokens` is the tokenizer's length, time tokens included."""
    vision = CLIPVisionConfig(
        hidden_size=recipe.vision_width,
        intermediate_size=2 * recipe.vision_width,
        num_hidden_layers=recipe.vision_layers,
        num_attention_heads=recipe.vision_width // 32,
        image_size=recipe.image_size,
        patch_size=recipe.patch_size,
        projection_dim=recipe.vision_width,
        hidden_act="gelu",
    )
    text = LlamaConfig(
        vocab_size=num_tokens + 1,
        hidden_size=recipe.width,
        intermediate_size=8 * recipe.width // 3,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        attention_bias=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    return LitaConfig(vision_config=vision, text_config=text, chat_template="v1")
