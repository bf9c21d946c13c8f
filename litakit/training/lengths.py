"""How long samples are, in tokens, and how many videos they are about: counted, or assumed and said so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic_core import from_json

from litakit.data.mixture import Mixture
from litakit.data.mixture_spec import load_mixture
from litakit.data.prepare import MIXTURE_FILE
from litakit.messages import get_template, prompt_text
from litakit.training.config import TrainConfig

if TYPE_CHECKING:
    from litakit.data.samples import Sample
    from litakit.modeling import LitaConfig, LitaProcessor

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model")

DRAWS = 1000
"""Samples that are drawn to know how long they are."""

CHARACTERS_PER_TOKEN = 4.0
"""Of English, for Llama's tokenizer, roughly."""

TEMPLATE_TOKENS = 45
"""System text and roles around a question and its answer."""

ASSUMED_TOKENS = {"dvc": 115, "event_loc": 50, "imgqa": 260, "vidqa": 350, "rtl": 80}
"""Tokens of questions and answers, for a mixture that is not here: the published one's, estimated.

From averages that its data sets publish: 3.7 sentences of 13.5 words with two times each a video
(ActivityNet Captions), 7.7 of 8.8 (YouCook2); about 9 questions of 12 words a video, all of them one
conversation (NExT-QA); LLaVA-Instruct's conversations, descriptions and reasoning, mixed as they come.
"""


@dataclass(frozen=True)
class Lengths:
    """How long the samples of a mixture are.

    Attributes:
        mean: tokens of a sample, visual ones included.
        longest: tokens of the longest, which memory must be there for.
        video_share: share of the samples that have a video or image.
        num_videos: different videos and images.
        mixture_size: samples of an epoch by the mixture; None where it is not here.
        source: where these figures come from, in words.
    """

    mean: float
    longest: int
    video_share: float
    num_videos: int
    mixture_size: int | None
    source: str


def lengths_of(config: TrainConfig, model: LitaConfig, folder: Path | None) -> Lengths:
    """Return how long the samples of a config's mixture are.

    Args:
        config: what is trained on which mixture.
        model: configuration of the model.
        folder: of the model; where it holds no tokenizer, or is None, tokens are estimated from characters.

    Raises:
        ValueError: a mixture that is there, but cannot be read.
    """
    if not (config.mixture / MIXTURE_FILE).exists():
        return _assumed(config, model)
    mixture = Mixture(config.mixture, seed=config.seed, epoch_size=config.epoch_size)
    processor = _processor(model, folder)
    stride = max(1, len(mixture) // DRAWS)
    samples = [mixture[index] for index in range(0, len(mixture), stride)]
    lengths = [_length(sample, config, model, processor) for sample in samples]
    how = f"{CHARACTERS_PER_TOKEN:g} characters a token" if processor is None else "the model's tokenizer"
    return Lengths(
        mean=sum(lengths) / len(lengths),
        longest=max(lengths),
        video_share=sum(sample.video is not None for sample in samples) / len(samples),
        num_videos=_count_videos(mixture),
        mixture_size=Mixture(config.mixture).epoch_size,
        source=f"{len(lengths):,} samples of {config.mixture}, {how}",
    )


def _assumed(config: TrainConfig, model: LitaConfig) -> Lengths:
    _, parts = load_mixture("lita")
    videos: dict[str, int] = {}
    for source in parts:
        for part in source.parts:
            folder = (part.media or source.manifest.media).folder
            count = part.counts.videos or part.counts.annotations or 0
            videos[folder] = max(videos.get(folder, 0), count)
    mean = TEMPLATE_TOKENS + model.num_visual_tokens + sum(ASSUMED_TOKENS.values()) / len(ASSUMED_TOKENS)
    return Lengths(
        mean=min(mean, config.max_length),
        longest=config.max_length,
        video_share=1.0,
        num_videos=sum(videos.values()),
        mixture_size=None,
        source=f"assumed: the published mixture, since {config.mixture} holds none",
    )


def _processor(model: LitaConfig, folder: Path | None) -> LitaProcessor | None:
    if folder is None or not any((folder / name).is_file() for name in TOKENIZER_FILES):
        return None
    from litakit.modeling import LitaProcessor, build_tokenizer
    from litakit.modeling.checkpoints import image_processor_of

    if (folder / "processor_config.json").is_file():
        processor: LitaProcessor = LitaProcessor.from_pretrained(folder)
        return processor
    tokenizer = build_tokenizer(
        folder,
        model.num_time_tokens,
        use_im_patch=model.use_im_patch,
        use_im_start_end=model.use_im_start_end,
    )
    return LitaProcessor.from_config(model, image_processor_of(None, model), tokenizer)


def _length(sample: Sample, config: TrainConfig, model: LitaConfig, processor: LitaProcessor | None) -> int:
    template = get_template(config.chat_template or model.chat_template)
    if processor is None:
        visual = 0 if sample.video is None else model.num_visual_tokens
        length = visual + round(len(prompt_text(sample.messages, template)) / CHARACTERS_PER_TOKEN)
        return min(length, config.max_length)
    messages = sample.messages
    if sample.duration is not None and sample.spans:
        codec = processor.time_codec
        messages = tuple(
            replace(message, content=codec.render(message.content, sample.duration))
            if message.role == "assistant" and message.content
            else message
            for message in messages
        )
    return min(len(processor.encode_prompt(messages, template, "keep")), config.max_length)


def _count_videos(mixture: Mixture) -> int:
    videos: set[tuple[str, float | None]] = set()
    for source in mixture.sources:
        with source.path.open("rb") as file:
            for line in file:
                record = from_json(line)
                if record["path"] is not None:
                    videos.add((record["path"], record["fps"]))
    return len(videos)
