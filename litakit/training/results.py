"""What a run leaves: a whole model's folder, or an adapter's, and how an adapter's is opened."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor

from litakit.assistant.loading import model_folder
from litakit.modeling import LitaConfig, LitaForConditionalGeneration, LitaProcessor
from litakit.modeling.adapters import LORA_FILES, PREFIX, PROJECTOR_FILES, apply_adapter
from litakit.modeling.checkpoints import build
from litakit.modeling.published import EMBEDDING, HEAD, our_name, published_name
from litakit.modeling.weights import read_weights
from litakit.training.learners import COMPUTED_IN, lora_config
from litakit.training.time_rows import fold_time_rows

if TYPE_CHECKING:
    from litakit.training.config import TrainConfig

PROJECTOR_FILE = PROJECTOR_FILES[1]


def save_result(
    model: LitaForConditionalGeneration,
    processor: LitaProcessor,
    config: TrainConfig,
    folder: Path,
    state: Mapping[str, Tensor] | None = None,
) -> None:
    """Write what was learnt, whole or not at all, in the type that was computed in.

    With `train: all` that is a model's folder. Else it is an adapter's: the model's configuration and
    processor, `mm_projector.safetensors` with the projector and both matrices that hold the time tokens'
    rows, and for LoRA peft's two files.

    Args:
        model: that was trained.
        processor: its processor.
        config: how it was trained.
        folder: where; one that is there is replaced.
        state: the model's weights, where they are not in the model itself.

    Raises:
        OSError: it cannot be written; then an older folder stays.
    """
    kind = COMPUTED_IN[config.precision]
    weights = fold_time_rows(model, dict(model.state_dict()) if state is None else state)
    weights = {
        name: value.detach().cpu().to(kind) if value.is_floating_point() else value.detach().cpu()
        for name, value in weights.items()
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        aside.chmod(0o755)
        processor.save_pretrained(aside)
        if config.train == "all":
            model.save_pretrained(aside, state_dict=weights)
        else:
            _write_adapter(model, config, weights, aside)
        if folder.exists():
            folder.rename(aside / ".old")
        aside.rename(folder)
        shutil.rmtree(folder / ".old", ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_adapter(
    model: LitaForConditionalGeneration, config: TrainConfig, weights: Mapping[str, Tensor], folder: Path
) -> None:
    model.config.save_pretrained(folder)
    named = {published_name(name): value for name, value in weights.items()}
    kept = {name: value for name, value in named.items() if "mm_projector." in name}
    kept[EMBEDDING] = named[EMBEDDING]
    kept[HEAD] = named.get(HEAD, named[EMBEDDING])
    save_file({name: value.contiguous().clone() for name, value in kept.items()}, folder / PROJECTOR_FILE)
    if config.train != "lora":
        return
    lora_config(model, config).save_pretrained(folder)
    learnt = {
        published_name(name)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and (".lora_" in name or name.endswith(".bias"))
    }
    pairs = {
        PREFIX + name.replace(".default", "").replace(".base_layer", ""): named[name].contiguous()
        for name in learnt
        if name in named and "mm_projector." not in name
    }
    save_file(pairs, folder / LORA_FILES[0])


def load_adapter(
    folder: str | Path, base: str | Path, dtype: torch.dtype = torch.float32
) -> tuple[LitaForConditionalGeneration, LitaProcessor]:
    """Load an adapter's folder over the model that it was trained on, merged into it.

    Args:
        folder: that `save_result` wrote.
        base: folder of a whole LITA, as `save_pretrained` writes it, or "tiny".
        dtype: type of the weights.

    Raises:
        FileNotFoundError, ValueError: a file is missing, or adapter and base do not fit.
    """
    folder, base = Path(folder), model_folder(base)
    config = LitaConfig.from_pretrained(folder)
    weights = {published_name(name): value for name, value in read_weights(base).items()}
    if HEAD not in weights and EMBEDDING in weights:
        weights[HEAD] = weights[EMBEDDING]
    rows = config.text_config.vocab_size
    merged = apply_adapter(folder, weights, rows, config.time_token_ids or [])
    state = {our: value for name, value in merged.items() if (our := our_name(name)) is not None}
    model = build(config, state, {"dtype": dtype})
    return model.eval(), LitaProcessor.from_pretrained(folder)
