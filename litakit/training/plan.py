"""Plan: what a training will take, on paper, before anyone pays: work, memory, disk and hours.

How the hours come about. Work is counted in floating-point operations from the shapes of the model: two for
each weight that a token meets, forward; twice that backward (once where the weights are frozen); once more
forward where activations are recomputed; attention scores and the head beside it. It is done at
:data:`UTILISATION` of the GPU's peak, whatever the model. From pixels every step also runs the vision tower
over all frames, forward only, and pays :data:`PIXEL_SECONDS` a sample.

Held against the published run (500,000 samples from pixels on 8 A100 of 80 GB: 13 h for 13B, 9 h for 7B) the
plan says 13.1 h and 8.8 h. The language models' work differs by a factor of 1.9, the hours by 1.44, so a good
part of them was the same for both sizes. Vision alone, 16 TFLOP a sample at the same utilisation, is 2.3 h of
it and leaves 2.0 h and 2.2 h unexplained: without any further term the plan would say 11.0 h and 6.8 h. That
rest is what `PIXEL_SECONDS` is fitted to: one constant, two figures. What it is made of the two cannot tell:
reading and decoding that the GPUs wait for, moving pixels, ZeRO-3's messages. Longer padding would explain it
as well: batches padded to the longest of 16 random samples, roughly 800 to 930 tokens, give 14 to 16 h and
8.3 to 9.3 h with vision but without that constant. The length of the published samples is itself an estimate
(see `litakit.training.lengths`).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from html import escape

from litakit.training.blueprint import Blueprint, blueprint_of, llm_folder
from litakit.training.config import Inputs, TrainConfig, Zero
from litakit.training.lengths import Lengths, lengths_of
from litakit.training.memory import GIB, Memory, memory_of
from litakit.training.work import GPUS, language_flop, vision_flop

SCHEMA_VERSION = 1

UTILISATION = 0.4
"""Share of its peak that a GPU is expected to reach; recomputed activations count as work."""

PIXEL_SECONDS = 0.12
"""What a sample from pixels costs its GPU beyond arithmetic; fitted, see above."""

PADDING = 1.05
"""Tokens of a batch, padded, to those of its samples, where samples of like length share one; assumed."""

HOUR = 3600
ZEROS: tuple[Zero, ...] = (0, 2, 3)


@dataclass(frozen=True)
class Plan:
    """What a training will take; it prints as a table.

    Attributes:
        model: folder or name that it starts from.
        gpu, num_gpus: what it runs on.
        inputs: "features" or "pixels".
        zero: stage of ZeRO.
        parameters: "llm", "projector", "vision", "total", and "trained".
        tokens_per_sample: mean, visual tokens included.
        padded_tokens: mean, with padding.
        longest_tokens: what memory is counted for.
        tokens_source: where the lengths come from, in words.
        samples, steps: of the whole run.
        samples_per_step: over all GPUs.
        pflop_per_step: of the language model with projector ("llm"), and of the vision tower ("vision").
        eflop: all of it, in 10^18 operations.
        utilisation: share of the GPU's peak that is expected.
        hours: of the run: `hours_llm`, and from pixels `hours_vision` and `hours_pixels` (reading, moving).
        hours_from_features, hours_from_pixels: of the run, by what a step reads.
        hours_encoding: to make the features, once.
        num_videos: different videos and images of the mixture.
        features_gib: disk that their features take.
        gib_per_gpu: memory of one GPU, at the longest batch.
        gpu_gib: what it has.
        host_gib_per_gpu: of the host's memory, for what is offloaded.
        memory: what the memory is made of, in GiB, by ZeRO stage: "zero_0", "zero_2", "zero_3".
    """

    model: str
    gpu: str
    num_gpus: int
    inputs: Inputs
    zero: Zero
    parameters: dict[str, int]
    tokens_per_sample: float
    padded_tokens: float
    longest_tokens: int
    tokens_source: str
    samples: int
    steps: int
    samples_per_step: int
    pflop_per_step: dict[str, float]
    eflop: float
    utilisation: float
    hours: float
    hours_llm: float
    hours_vision: float
    hours_pixels: float
    hours_from_features: float
    hours_from_pixels: float
    hours_encoding: float
    num_videos: int
    features_gib: float
    gib_per_gpu: float
    gpu_gib: float
    host_gib_per_gpu: float
    memory: dict[str, Memory]

    @property
    def fits(self) -> bool:
        """Whether the GPU's memory is expected to be enough."""
        return self.gib_per_gpu <= self.gpu_gib

    def to_json(self) -> str:
        """Return everything as one line of JSON."""
        memory = {stage: {**asdict(part), "total": part.total} for stage, part in self.memory.items()}
        return json.dumps(
            {"schema_version": SCHEMA_VERSION, **asdict(self), "memory": memory, "fits": self.fits}
        )

    def cells(self) -> list[tuple[str, str]]:
        """Return the table: what, and how much."""
        parameters = {name: _words_of(count).replace("G", "B") for name, count in self.parameters.items()}
        stages = [f"{stage[-1]}: {part.total:,.1f}" for stage, part in self.memory.items()]
        parts = asdict(self.memory[f"zero_{self.zero}"])
        host = parts.pop("host")
        flop = self.pflop_per_step
        made_of = f"language model {self.hours_llm:,.1f}"
        if self.inputs == "pixels":
            made_of += f", vision tower {self.hours_vision:,.1f}, reading {self.hours_pixels:,.1f}"
        learn = (
            f"{parameters['llm']} language model, {parameters['projector']} projector, "
            f"{parameters['vision']} vision tower; {parameters['trained']} learn"
        )
        tokens = (
            f"{self.tokens_per_sample:,.0f}, padded {self.padded_tokens:,.0f}, "
            f"at most {self.longest_tokens:,} ({self.tokens_source})"
        )
        work = (
            f"{_words_of(flop['llm'] * 1e15)}FLOP a step for the language model, "
            f"{_words_of(flop['vision'] * 1e15)}FLOP for vision; "
            f"{_words_of(self.eflop * 1e18)}FLOP in all"
        )
        gib = f"{self.gib_per_gpu:,.1f} of {self.gpu_gib:g}"
        gib += ("" if self.fits else ": DOES NOT FIT") + (f"; {host:,.1f} on the host" if host else "")
        return [
            ("runs on", f"{self.num_gpus} x {self.gpu}, from {self.inputs}, ZeRO-{self.zero}"),
            ("parameters", learn),
            ("tokens a sample", tokens),
            ("samples", f"{self.samples:,} in {self.steps:,} steps of {self.samples_per_step:,}"),
            ("work", work),
            ("GiB a GPU", gib),
            ("  made of", ", ".join(f"{name} {part:,.1f}" for name, part in parts.items() if part)),
            ("  by ZeRO stage", ", ".join(stages)),
            ("features", f"at most {self.features_gib:,.1f} GiB for {self.num_videos:,} videos and images"),
            ("  made once in", f"{self.hours_encoding:,.2f} h"),
            ("hours", f"{self.hours:,.2f} at {self.utilisation:.0%} of the peak ({made_of})"),
            ("  from features", f"{self.hours_from_features:,.2f}"),
            ("  from pixels", f"{self.hours_from_pixels:,.2f}"),
        ]

    def __str__(self) -> str:
        cells = self.cells()
        width = max(len(name) for name, _ in cells)
        return "\n".join([f"{self.model}, on paper", *(f"{name:{width}}  {value}" for name, value in cells)])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align: left'>{escape(name.strip())}</th>"
            f"<td style='text-align: left'>{escape(value)}</td></tr>"
            for name, value in self.cells()
        )
        return f"<table><caption>{escape(self.model)}, on paper</caption><tbody>{rows}</tbody></table>"


def plan(
    config: TrainConfig, *, gpu: str = "a100-80gb", num_gpus: int = 8, inputs: Inputs | None = None
) -> Plan:
    """Return what a training will take. Nothing is loaded or downloaded but configurations.

    Args:
        config: the training.
        gpu: one of :data:`GPUS`.
        num_gpus: GPUs, a process each, in one machine: nothing is counted for a network between several.
        inputs: "features" or "pixels"; None takes the config's.

    Raises:
        ValueError: a GPU that is not known, or no such model or mixture.

    >>> from litakit.training.config import load_config
    >>> paper = plan(load_config("lita-13b"), inputs="pixels")
    >>> f"{paper.hours:.1f} h, {paper.gib_per_gpu:.0f} GiB of {paper.gpu_gib:g}"
    '13.1 h, 60 GiB of 79.2'
    """
    if gpu not in GPUS:
        raise ValueError(f"gpu: expected one of {', '.join(GPUS)}, got {gpu!r}")
    if num_gpus < 1:
        raise ValueError(f"num_gpus must be at least 1, got {num_gpus}")
    blueprint = blueprint_of(config)
    lengths = lengths_of(config, blueprint.config, llm_folder(config))
    reads: Inputs = config.inputs if inputs is None else inputs
    samples = config.count_samples(num_gpus, lengths.mixture_size)
    batch = config.samples_per_step(num_gpus)
    padded = min(lengths.mean * PADDING, float(lengths.longest))
    llm_flop = language_flop(blueprint, config, padded, lengths.video_share)
    video_flop = vision_flop(blueprint)
    speed = GPUS[gpu].tflops(config) * 1e12 * UTILISATION * num_gpus * HOUR  # operations an hour
    hours_llm = samples * llm_flop / speed
    num_seen = samples * lengths.video_share
    hours_vision = num_seen * video_flop / speed
    hours_pixels = num_seen * PIXEL_SECONDS / num_gpus / HOUR
    from_pixels = hours_llm + hours_vision + hours_pixels
    is_pixels = reads == "pixels"
    seen_flop = video_flop * lengths.video_share if is_pixels else 0.0
    memory = {
        f"zero_{zero}": memory_of(blueprint, config, zero, num_gpus, lengths.longest, pixels=is_pixels)
        for zero in ZEROS
    }
    chosen = memory[f"zero_{config.zero}"]
    return Plan(
        model=config.lita or str(config.llm),
        gpu=gpu,
        num_gpus=num_gpus,
        inputs=reads,
        zero=config.zero,
        parameters=_parameters(blueprint, config),
        tokens_per_sample=lengths.mean,
        padded_tokens=padded,
        longest_tokens=lengths.longest,
        tokens_source=lengths.source,
        samples=samples,
        steps=config.count_steps(num_gpus, lengths.mixture_size),
        samples_per_step=batch,
        pflop_per_step={"llm": batch * llm_flop / 1e15, "vision": batch * seen_flop / 1e15},
        eflop=samples * (llm_flop + seen_flop) / 1e18,
        utilisation=UTILISATION,
        hours=from_pixels if is_pixels else hours_llm,
        hours_llm=hours_llm,
        hours_vision=hours_vision if is_pixels else 0.0,
        hours_pixels=hours_pixels if is_pixels else 0.0,
        hours_from_features=hours_llm,
        hours_from_pixels=from_pixels,
        hours_encoding=lengths.num_videos * (video_flop / speed + PIXEL_SECONDS / num_gpus / HOUR),
        num_videos=lengths.num_videos,
        features_gib=_features_gib(blueprint, config, lengths),
        gib_per_gpu=chosen.total,
        gpu_gib=GPUS[gpu].gib,
        host_gib_per_gpu=chosen.host,
        memory=memory,
    )


def _words_of(count: float) -> str:
    """Return a large number as it is said.

    >>> _words_of(13_016_898_560), _words_of(3_007_296), _words_of(0)
    ('13.0 G', '3.01 M', '0 ')
    """
    for unit, size in (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            digits = max(0, 2 - int(math.log10(count / size)))
            return f"{count / size:.{digits}f} {unit}"
    return f"{count:.0f} "


def _parameters(blueprint: Blueprint, config: TrainConfig) -> dict[str, int]:
    parts = {
        "llm": blueprint.num_llm,
        "projector": blueprint.num_projector,
        "vision": blueprint.num_vision,
    }
    total = sum(parts.values()) + blueprint.num_lora(config)
    return {**parts, "total": total, "trained": blueprint.num_trained(config)}


def _features_gib(blueprint: Blueprint, config: TrainConfig, lengths: Lengths) -> float:
    size = 4 if config.precision == "fp32" else 2
    values = blueprint.config.num_visual_tokens * blueprint.config.feature_width
    return lengths.num_videos * values * size / GIB
