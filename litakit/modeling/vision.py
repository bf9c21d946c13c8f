"""The eyes of a model alone: its vision tower, to look at many videos without the language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel

from litakit.modeling import published
from litakit.modeling.adapters import is_adapter
from litakit.modeling.attention import choose_attention
from litakit.modeling.checkpoints import image_processor_of
from litakit.modeling.configuration import LitaConfig
from litakit.modeling.devices import choose_device, choose_dtype
from litakit.modeling.model import LitaForConditionalGeneration
from litakit.modeling.parts import load_whole
from litakit.modeling.processor import LitaProcessor
from litakit.modeling.weights import check_tensors, read_weights


class FrameProcessor(LitaProcessor):
    """A processor that knows frames and no words."""

    def __init__(self, image_processor: Any, config: LitaConfig) -> None:
        # Not super's: that one wants a tokenizer.
        self.image_processor = image_processor
        self.num_frames = config.num_frames
        self.image_aspect_ratio = config.image_aspect_ratio


def load_vision(
    folder: str | Path,
    *,
    base: str | Path | None = None,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
    attention: str = "auto",
) -> tuple[LitaForConditionalGeneration, LitaProcessor]:
    """Load what a model looks at videos with; its language model gets no weights and takes no memory.

    Features, and the keys they are kept under, are those of the whole model in the same type.

    Args:
        folder: HF-native, published or adapter-only, as :func:`~litakit.modeling.checkpoints.load_model`
            takes it; or a vision tower alone, such as openai/clip-vit-large-patch14's, which then looks as
            the published model does.
        base: the base model's folder, for an adapter-only one.
        dtype: type of the weights; by default what suits the device.
        device: where it runs; by default the best there is.
        attention: "auto", or a name that transformers knows.

    Returns:
        A model in evaluation mode that is good for `get_video_features` only, and a processor of frames.

    Raises:
        FileNotFoundError: a folder or file is not there.
        ValueError: weights cut off, missing or of another shape; no vision tower in the folder.
    """
    folder = Path(folder)
    target = choose_device(device)
    kind = choose_dtype(dtype, target)
    options: dict[str, Any] = {
        "dtype": kind,
        "attn_implementation": choose_attention(attention, kind, target),
    }
    fields = published.read_config(folder)
    processor: LitaProcessor
    if fields.get("model_type") == LitaConfig.model_type:
        _refuse_base(folder, base)
        config = LitaConfig.from_pretrained(folder)
        model = _with_weights(config, read_weights(folder), folder, options)
        processor = LitaProcessor.from_pretrained(folder)
    elif "mm_vision_tower" in fields:
        # How many rows the vocabulary has is nothing that eyes know.
        num_rows = 1 + max([fields.get("vocab_size", 0), *(fields.get("time_token_ids") or [])])
        config = published.published_config(folder, vocab_size=num_rows)
        weights = _published_weights(folder, base, fields["mm_vision_tower"])
        model = _with_weights(config, weights, folder, options, published.published_name)
        tower = published.vision_folder(folder, fields["mm_vision_tower"])
        processor = FrameProcessor(image_processor_of(tower, config), config)
    else:
        _refuse_base(folder, base)
        config = LitaConfig(vision_config=_tower_config(folder))
        model = _without_weights(config)
        model.vision_tower = load_whole(AutoModel, folder, config=config.vision_config, **options)
        processor = FrameProcessor(image_processor_of(folder, config), config)
    for part in _eyes(config):
        getattr(model, part).to(target)
    return model.eval(), processor


def _eyes(config: LitaConfig) -> tuple[str, ...]:
    """What of a model makes its video features: before an "mlp" projector nothing is pooled."""
    return ("vision_tower", "projector") if config.projector == "mlp" else ("vision_tower",)


def _refuse_base(folder: Path, base: str | Path | None) -> None:
    if base is not None:
        raise ValueError(f"{folder} is no adapter: leave out the base {base}")


def _without_weights(config: LitaConfig) -> LitaForConditionalGeneration:
    with torch.device("meta"):
        return LitaForConditionalGeneration(config)


def _with_weights(
    config: LitaConfig,
    weights: Mapping[str, Tensor],
    folder: Path,
    options: dict[str, Any],
    file_name: Callable[[str], str] = str,
) -> LitaForConditionalGeneration:
    """The model with, of its weights (by our names), those of its eyes."""
    model = _without_weights(config)
    expected, state = (
        {name: tensor for name, tensor in tensors.items() if name.partition(".")[0] in _eyes(config)}
        for tensors in (model.state_dict(), weights)
    )
    check_tensors(state, expected, [folder], file_name)
    tower, projector = (
        {name.removeprefix(part): tensor for name, tensor in state.items() if name.startswith(part)}
        for part in ("vision_tower.", "projector.")
    )
    model.vision_tower = type(model.vision_tower).from_pretrained(
        None, config=config.vision_config, state_dict=tower, **options
    )
    if projector:
        model.projector.to_empty(device="cpu").load_state_dict(projector)
        model.projector.to(options["dtype"])
    return model


def _published_weights(folder: Path, base: str | Path | None, tower: str) -> dict[str, Tensor]:
    """Weights by our names; those of the vision tower are the checkpoint's (the base's), else the tower's."""
    if is_adapter(folder):
        if base is None:
            raise ValueError(
                f"{folder} holds an adapter only: name the folder of its base model (base=, --base)"
            )
        weights = read_weights(Path(base))
    else:
        _refuse_base(folder, base)
        weights = read_weights(folder)
    if not any(name.startswith(published.VISION) for name in weights):
        weights = published.vision_weights(folder, tower)
    return {
        ours: tensor for name, tensor in weights.items() if (ours := published.our_name(name)) is not None
    }


def _tower_config(folder: Path) -> Any:
    config = AutoConfig.from_pretrained(folder)
    if "vision_config" in config.sub_configs:  # of a CLIP with a text half, the vision half
        config = config.vision_config
    if not {"image_size", "patch_size", "hidden_size"} <= config.to_dict().keys():
        raise ValueError(
            f"{folder}: a {config.model_type} looks at nothing: expected the folder of a LITA, or of a "
            "CLIP-style vision tower"
        )
    return config
