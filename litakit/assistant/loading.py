"""Assistant: a loaded model that videos are opened with."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from litakit.assets import bundled_model
from litakit.assistant.session import VideoSession
from litakit.features import FeatureStore, VideoEncoder
from litakit.messages import ChatTemplate, get_template

if TYPE_CHECKING:
    import os

    import torch

    from litakit.modeling import LitaForConditionalGeneration, LitaProcessor

logger = logging.getLogger(__name__)

BUNDLED = ("tiny",)


class Assistant:
    """A model and its processor, ready to look at videos.

    Args:
        model: a LITA model.
        processor: its processor.
        template: name of the chat template to ask with; None for the processor's own.
        store: where features of videos are kept between runs; None keeps none.

    Raises:
        ValueError: there is no chat template of that name.
    """

    def __init__(
        self,
        model: LitaForConditionalGeneration,
        processor: LitaProcessor,
        *,
        template: str | None = None,
        store: FeatureStore | None = None,
    ) -> None:
        self.model = model
        self.processor = processor
        self.chat_template: ChatTemplate = processor.template if template is None else get_template(template)
        self.encoder = VideoEncoder(model, processor, store)

    def __repr__(self) -> str:
        return f"Assistant({self.model.dtype}, on {self.model.device}, template {self.chat_template.name!r})"

    @cached_property
    def eos_token_ids(self) -> tuple[int, ...]:
        """Tokens that end an answer: those of the model's generation config and the tokenizer's."""
        config = self.model.generation_config
        given = config.eos_token_id if config is not None else None
        ids = given if isinstance(given, list) else [given]
        return tuple(sorted({int(i) for i in [*ids, self.processor.tokenizer.eos_token_id] if i is not None}))

    def open(
        self,
        video: str | os.PathLike[str],
        *,
        start: float | None = None,
        end: float | None = None,
        fps: float | None = None,
        duration: float | None = None,
    ) -> VideoSession:
        """Encode a video, unless its features are kept from before, and begin a conversation about it.

        Args:
            video: a video file, a folder of frames, or an image.
            start: ask about a part: its first second.
            end: ask about a part: its last second.
            fps: frames a second, for a folder of frames; or
            duration: its seconds.

        Returns:
            A session without history.

        Raises:
            VideoError: the video cannot be read, or the part lies outside it.
        """
        features = self.encoder.encode(video, start=start, end=end, fps=fps, duration=duration)
        return VideoSession(self, video, features, fps=fps, duration=duration)


def load(
    name: str | os.PathLike[str] = "tiny",
    *,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
    quantization: Literal["4bit", "8bit"] | None = None,
    base: str | os.PathLike[str] | None = None,
    template: str | None = None,
    attention: str = "auto",
    device_map: str | dict[str, Any] | None = None,
    cache: bool = True,
) -> Assistant:
    """Load a model to ask videos with.

    Args:
        name: "tiny", the bundled model, which knows the shape world only; or a folder with weights: one that
            `litakit convert` or `save_pretrained` wrote, a published LITA checkpoint as it is, or an
            adapter-only folder together with `base`.
        dtype: type of the weights, "float32", "bfloat16", "float16"; by default what suits the device.
        device: "cpu", "cuda", "cuda:1", "mps"; by default the best there is.
        quantization: "4bit" or "8bit" through bitsandbytes (`pip install 'litakit[quant]'`).
        base: the base model's folder, where `name` holds an adapter only.
        template: chat template to ask with: "v1" (LITA was trained with it), "llava_v1" (it is evaluated with
            it), "llama_2", "llava_llama_2"; by default the model's own.
        attention: "auto", "sdpa", "eager" or "flash_attention_2".
        device_map: spreads a large model over several GPUs, as in transformers: "auto", or a mapping.
        cache: whether features of videos are kept on disk, in `LITAKIT_HOME`.

    Raises:
        ValueError: there is no such model, or the folder does not hold one.
    """
    if template is not None:
        get_template(template)
    folder = model_folder(name)
    from litakit.modeling.checkpoints import load_model

    with _no_progress_bar() if str(name) in BUNDLED else nullcontext():
        model, processor = load_model(
            folder,
            base=None if base is None else Path(base),
            dtype=dtype,
            device=device,
            quantization=quantization,
            attention=attention,
            device_map=device_map,
        )
    model.eval()
    return Assistant(model, processor, template=template, store=FeatureStore() if cache else None)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Load without a bar: for gigabytes it tells something, for the bundled model it is only in the way."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def model_folder(name: str | os.PathLike[str]) -> Path:
    """Return the folder of a model: the bundled one's for "tiny", else the folder that is named.

    Raises:
        ValueError: it does not exist.

    >>> model_folder("no/such/folder")
    Traceback (most recent call last):
    ...
    ValueError: no model at no/such/folder: expected 'tiny' or a folder with a model's config.json and weights
    """
    folder = Path(name).expanduser()
    if str(name) in BUNDLED and not folder.is_dir():
        folder = bundled_model(str(name))
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"no model at {folder}: expected 'tiny' or a folder with a model's config.json and weights"
        )
    return folder
