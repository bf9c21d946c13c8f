"""TrainConfig: everything that a fine-tuning is, as one frozen record, in YAML and out."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from litakit.data._yaml import StrictModel, load_yaml
from litakit.data.manifests import find_yaml
from litakit.files import write_atomic
from litakit.messages import get_template

PRESETS = Path(__file__).parent / "presets"
"""Folder of the recipes that come with litakit."""

Inputs = Literal["features", "pixels"]
Zero = Literal[0, 2, 3]
Precision = Literal["fp32", "bf16", "fp16"]

Count = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]

ONLY_WITH: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("lora_rank", "lora_alpha", "lora_dropout", "lora_targets", "lora_bias", "quantize"),
            ("train", "lora"),
        ),
        "freeze_llm": ("train", "all"),
        "features": ("inputs", "features"),
        "soft_width_steps": ("time_loss", "soft"),
        "soft_width_seconds": ("time_loss", "soft"),
    }
)
"""Fields that nothing reads but where another has a certain value: elsewhere they keep their default."""


class TrainConfig(StrictModel):
    """A fine-tuning of LITA; the defaults are the published recipe's.

    Paths are below the working folder unless absolute. A model comes either from `lita` or from its parts.

    Attributes:
        lita: an existing LITA: its folder, or "tiny".
        llm: folder of a causal language model with its tokenizer, or its hub name (in the local cache).
        vision: the same of a CLIP-style vision tower.
        projector: file with a projector, or the hub name of a folder with `mm_projector.bin`; None: random.
        chat_template: name of the template to train with ("v1" for Vicuna, "llama_2"); None takes the model's
            own, which a model built of parts does not have.
        mixture: folder that `litakit data prepare` wrote.
        root: data root, the folder of the videos. For pixels it must be given; with features it makes
            videos that have changed since they were encoded an error.
        features: folder that `litakit data features` wrote.
        inputs: what a step reads of videos: "features", encoded once, or "pixels", decoded every time.
        on_error: a sample that cannot be read ends the run ("raise"), or is left out and counted ("skip").
        max_length: longest sample, in tokens, visual tokens included.
        too_long: a longer one is an error ("refuse"), or loses its end ("cut").
        train: what learns, and so what is saved: "all" the language model and the projector, as one model
            folder; "lora" low-rank updates of the language model and the projector, as an adapter folder;
            "projector" the projector, as an adapter folder. The rows of the time tokens, in embedding and
            head, always learn. The vision tower never does.
        freeze_llm: with "all": the language model stays as it is, but for the time tokens' rows.
        freeze_projector: the projector stays as it is.
        lora_rank: rank r of the updates.
        lora_alpha: they are scaled by alpha / r.
        lora_dropout: share of their inputs that is dropped, in [0, 1).
        lora_targets: names of the layers they are laid over, such as [q_proj, v_proj]; "all-linear" is every
            linear layer of the language model but its head.
        lora_bias: which biases learn: "none", "all" of the language model, or "lora_only", of the targets.
        quantize: type of the frozen weights under LoRA: "nf4" or "fp4" (4 bit, bitsandbytes), or "none".
        double_quant: whether the scales of quantised weights are quantised too (0.4 bit a weight less).
        precision: type that is computed in; weights are kept and learnt in fp32 beside "bf16" and "fp16".
        tf32: on Ampere GPUs and later: float32 products with 10 bits of mantissa.
        zero: stage of DeepSpeed's ZeRO: 0 splits nothing between processes, 2 gradients and optimiser states,
            3 the weights too.
        offload: what waits in the host's memory: "none", "optimizer" states, or "all" (weights too).
        batch_size: samples of a process in one forward pass.
        gradient_accumulation: forward passes to an optimiser step.
        epochs: epochs of `epoch_size` draws from the mixture; or
        steps: optimiser steps, instead.
        epoch_size: samples an epoch draws, over all processes; None takes the mixture's own.
        learning_rate: of AdamW, at its highest.
        betas: of AdamW: how much of the running means of gradient and squared gradient a step keeps.
        eps: of AdamW.
        weight_decay: of AdamW.
        warmup_ratio: share of the steps in which the learning rate rises from 0, in [0, 1).
        schedule: how it falls after that: "cosine" or "linear", to 0, or "constant", not at all.
        max_grad_norm: a gradient of a larger norm is scaled down to it; None clips nothing.
        gradient_checkpointing: recompute activations instead of keeping them: less memory, a third more work.
        attention: "auto" (flash-attn where it can be used, else sdpa), or a name that transformers knows.
        time_loss: how time tokens are learnt: "cross_entropy", as published, or "soft", against a Gaussian.
        soft_width_steps: its standard deviation around the true time, in time steps (time tokens); or
        soft_width_seconds: in seconds.
        seed: of data order, dropout and whatever starts at random.
        save_every_steps: optimiser steps from one checkpoint to the next.
        keep_checkpoints: latest checkpoints that are kept.
        log_every_steps: optimiser steps from one line of the metrics to the next.
        num_workers: processes that read samples, for each training process; 0 reads in the process itself.
        report_to: services that get the metrics as well: "tensorboard", "wandb", "mlflow", "trackio".

    >>> config = TrainConfig(lita="tiny", mixture="prepared", features="features", steps=100)
    >>> config.batch_size, config.learns_llm, config.samples_per_step(num_processes=2)
    (16, True, 32)
    """

    lita: str | None = None
    llm: str | None = None
    vision: str | None = None
    projector: str | None = None
    chat_template: str | None = None

    mixture: Path
    root: Path | None = None
    features: Path | None = None
    inputs: Inputs = "features"
    on_error: Literal["raise", "skip"] = "raise"
    max_length: Count = 2048
    too_long: Literal["refuse", "cut"] = "refuse"

    train: Literal["all", "lora", "projector"] = "all"
    freeze_llm: bool = False
    freeze_projector: bool = False
    lora_rank: Count = 64
    lora_alpha: Positive = 16.0
    lora_dropout: Share = 0.05
    lora_targets: Literal["all-linear"] | Annotated[tuple[str, ...], Field(min_length=1)] = "all-linear"
    lora_bias: Literal["none", "all", "lora_only"] = "none"
    quantize: Literal["none", "nf4", "fp4"] = "none"
    double_quant: bool = True

    precision: Precision = "bf16"
    tf32: bool = False
    zero: Zero = 3
    offload: Literal["none", "optimizer", "all"] = "none"

    batch_size: Count = 16
    gradient_accumulation: Count = 1
    epochs: Count | None = None
    steps: Count | None = None
    epoch_size: Count | None = None
    learning_rate: Positive = 2e-5
    betas: tuple[Share, Share] = (0.9, 0.999)
    eps: Positive = 1e-8
    weight_decay: NotNegative = 0.0
    warmup_ratio: Share = 0.03
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    max_grad_norm: Positive | None = 1.0
    gradient_checkpointing: bool = True
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = "auto"
    time_loss: Literal["cross_entropy", "soft"] = "cross_entropy"
    soft_width_steps: Positive | None = None
    soft_width_seconds: Positive | None = None

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    save_every_steps: Count = 500
    keep_checkpoints: Count = 2
    log_every_steps: Count = 1
    num_workers: Annotated[int, Field(ge=0)] = 4
    report_to: tuple[Literal["tensorboard", "wandb", "mlflow", "trackio"], ...] = ()

    @field_validator("chat_template")
    @classmethod
    def _template_is_known(cls, name: str | None) -> str | None:
        return None if name is None else get_template(name).name

    @model_validator(mode="after")
    def _nothing_contradicts(self) -> Self:
        faults = [
            InitErrorDetails(
                type=PydanticCustomError("value_error", "{words}", {"words": words}),
                loc=(name,),
                input=getattr(self, name),
            )
            for name, words in self._contradictions()
        ]
        if faults:
            raise ValidationError.from_exception_data(type(self).__name__, faults)
        return self

    def _contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield each field that does not go with the others, and why."""
        yield from self._model_contradictions()
        for name, (other, value) in ONLY_WITH.items():
            if getattr(self, name) != type(self).model_fields[name].default and getattr(self, other) != value:
                yield name, f"only goes with {other}: {value}, got {other}: {getattr(self, other)}"
        if self.inputs == "features" and self.features is None:
            yield "features", "inputs: features needs the folder that `litakit data features` wrote"
        if self.inputs == "pixels" and self.root is None:
            yield "root", "inputs: pixels needs the data root, where the videos are"
        if self.train == "projector" and self.freeze_projector:
            yield "freeze_projector", "with train: projector nothing would learn: leave it out"
        if self.quantize != "none" and self.zero == 3:
            yield "zero", f"quantize: {self.quantize} packs weights, which ZeRO-3 cannot split: take 0 or 2"
        if self.offload != "none" and self.zero == 0:
            yield "offload", f"{self.offload} needs zero: 2 or 3, got 0"
        if self.offload == "all" and self.zero == 2:
            yield "offload", "all needs zero: 3, got 2, which offloads the optimizer only"
        if (self.epochs is None) == (self.steps is None):
            given = "neither" if self.steps is None else "both"
            yield "steps", f"expected either epochs or steps, got {given}"
        if self.time_loss == "soft" and (self.soft_width_steps is None) == (self.soft_width_seconds is None):
            given = "neither" if self.soft_width_steps is None else "both"
            yield "time_loss", f"soft needs soft_width_steps or soft_width_seconds, got {given}"

    def _model_contradictions(self) -> Iterator[tuple[str, str]]:
        parts = [name for name in ("llm", "vision", "projector") if getattr(self, name) is not None]
        if self.lita is not None and parts:
            yield parts[0], f"a model comes from lita or from its parts, got both ({self.lita})"
        if self.lita is None:
            missing = [name for name in ("llm", "vision") if name not in parts]
            if missing:
                yield missing[0], "expected lita, or llm and vision, to say where the model comes from"
            elif self.chat_template is None:
                yield (
                    "chat_template",
                    "a model built of parts has none of its own: v1 for Vicuna, llama_2, ...",
                )

    @property
    def learns_llm(self) -> bool:
        """Whether the language model's own weights learn (LoRA's updates are none of them)."""
        return self.train == "all" and not self.freeze_llm

    @property
    def learns_projector(self) -> bool:
        """Whether the projector learns."""
        return not self.freeze_projector

    def samples_per_step(self, num_processes: int) -> int:
        """Return the samples of an optimiser step."""
        return self.batch_size * self.gradient_accumulation * num_processes

    def count_samples(self, num_processes: int, mixture_size: int | None = None) -> int:
        """Return the samples of the whole run.

        Args:
            num_processes: processes that train.
            mixture_size: samples of an epoch by the mixture, where the config does not say it.

        Raises:
            ValueError: nobody says how many samples an epoch has.
        """
        if self.steps is not None:
            return self.steps * self.samples_per_step(num_processes)
        assert self.epochs is not None
        size = self.epoch_size or mixture_size
        if size is None:
            raise ValueError(f"how long {self.epochs} epochs are is not known: set epoch_size, in samples")
        return self.epochs * size

    def count_steps(self, num_processes: int, mixture_size: int | None = None) -> int:
        """Return the optimiser steps of the whole run; arguments and errors as in `count_samples`."""
        samples = self.count_samples(num_processes, mixture_size)
        return self.steps or math.ceil(samples / self.samples_per_step(num_processes))

    def replace(self, **changes: Any) -> Self:
        """Return the same config with other values, checked like any other.

        Raises:
            ValidationError: a ValueError; it names each wrong field.

        >>> load_config("tiny").replace(batch_size=2).batch_size
        2
        """
        return self.model_validate({**self.model_dump(), **changes})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as YAML, every field, whole or not at all; `load_config` reads the same config back.

        Raises:
            OSError: the file cannot be written.
        """
        write_atomic(Path(path), yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False))


def load_config(path: str | os.PathLike[str]) -> TrainConfig:
    """Read a config.

    Args:
        path: a YAML file, or the name of a recipe that comes with litakit: lita-13b, lita-7b, tiny.

    Raises:
        ManifestError: a ValueError: not there, not YAML, or not a config; with file, line and field.

    >>> config = load_config("lita-13b")
    >>> config.count_samples(num_processes=8), config.samples_per_step(num_processes=8)
    (500000, 128)
    """
    return load_yaml(find_yaml(path, PRESETS, "training config"), TrainConfig)
