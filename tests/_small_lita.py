"""A small random LITA with the published tokenizer, and counters that see what really runs in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, LlamaConfig

from litakit.assistant import Answer, VideoSession
from litakit.modeling import LitaConfig, LitaForConditionalGeneration, LitaProcessor
from litakit.modeling.tokenizer import build_tokenizer
from tests.conftest import GOLDEN

VIDEOS = GOLDEN / "videos"
SHORT = VIDEOS / "d_short_320x240_25fps_3s.mp4"
LONGER = VIDEOS / "b_mandelbrot_320x240_10fps_12s.mp4"
FRAMES = VIDEOS / "frames" / "v_bbbbbbbbbb2"
QUESTION = "When does the red square move?"
OTHER = "What happens after that?"
LIMIT = 24


def small_lita(seed: int = 0, **changes: Any) -> tuple[LitaForConditionalGeneration, LitaProcessor]:
    """A random model of 8 frames of 56 x 56 that likes to say time tokens, and its processor."""
    tokenizer = build_tokenizer(GOLDEN / "ckpt" / "lita-vicuna-v1-3-tiny-temporal_spatial_pool")
    vocab_size = len(tokenizer) + 1
    torch.manual_seed(seed)
    config = LitaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=56,
            patch_size=14,
        ),
        text_config=LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        ),
        num_frames=8,
        **changes,
    )
    model = LitaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
        head = model.get_output_embeddings().weight
        head[tokenizer.eos_token_id] = 0.0
        for token in config.time_token_ids or []:
            head[token] *= 1.5
    images = CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
    return model, LitaProcessor.from_config(config, images, tokenizer)


@dataclass
class Seen:
    """What went through a model: frames through the vision tower, ids through the embedding, call by call."""

    frames: int = 0
    ids: list[int] = field(default_factory=list)


@contextmanager
def watching(model: LitaForConditionalGeneration) -> Iterator[Seen]:
    """Count by forward hooks on the vision tower and on the language model's embedding."""
    seen = Seen()

    def on_vision(module: Any, args: Any, kwargs: Any) -> None:
        seen.frames += len(kwargs["pixel_values"] if "pixel_values" in kwargs else args[0])

    def on_words(module: Any, args: Any) -> None:
        seen.ids.append(args[0].numel())

    hooks = [
        model.vision_tower.register_forward_pre_hook(on_vision, with_kwargs=True),
        model.get_input_embeddings().register_forward_pre_hook(on_words),
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def ask(session: VideoSession, question: str = QUESTION, **options: Any) -> Answer:
    """Ask with a short limit, for this model does not know when to stop."""
    return session.ask(question, **{"max_new_tokens": LIMIT, **options})
