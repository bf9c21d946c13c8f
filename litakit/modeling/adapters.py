"""Folders that hold only what training changed: projector files and LoRA adapters, laid over a base model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from litakit.modeling.parts import grow_rows, projector_tensors
from litakit.modeling.published import EMBEDDING, HEAD, PROJECTOR
from litakit.modeling.weights import read_file, weight_files

PROJECTOR_FILE = "mm_projector.bin"
LORA_CONFIG, OTHERS_FILE = "adapter_config.json", "non_lora_trainables.bin"
LORA_FILES = ("adapter_model.safetensors", "adapter_model.bin")
PREFIX = "base_model.model."


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds changes to a base model, and no model."""
    try:
        weight_files(folder)
    except FileNotFoundError:
        return any((folder / name).is_file() for name in (PROJECTOR_FILE, LORA_CONFIG, OTHERS_FILE))
    return False


def apply_adapter(
    folder: Path, base: Mapping[str, Tensor], num_rows: int, time_token_ids: Sequence[int]
) -> dict[str, Tensor]:
    """A base model's weights with an adapter's in place, all by their published names.

    Args:
        folder: of the adapter.
        base: weights of the base model.
        num_rows: rows that embedding and head have in the end.
        time_token_ids: rows of the time tokens, which the adapter must bring unless the base has them.

    Raises:
        FileNotFoundError: a file of the adapter is missing.
        ValueError: time-token rows that neither has, or tensors that do not fit.
    """
    weights = dict(base)
    lora = (folder / LORA_CONFIG).is_file()
    changes: dict[str, Tensor] = {}
    if lora:
        changes |= _merge_lora(folder, weights)
    for name in (OTHERS_FILE, PROJECTOR_FILE):
        if (folder / name).is_file():
            changes |= _changes(folder / name)
    if not any(name.startswith(PROJECTOR) for name in [*changes, *weights]):
        raise FileNotFoundError(
            f"{folder}: expected a projector in {OTHERS_FILE} or {PROJECTOR_FILE}, found none"
        )
    source = folder / (OTHERS_FILE if lora else PROJECTOR_FILE)
    for name in (EMBEDDING, HEAD):
        weights[name] = _with_time_rows(
            weights[name], changes.pop(name, None), num_rows, time_token_ids, name, source
        )
    for name, value in changes.items():
        if name in weights and weights[name].shape != value.shape:
            raise ValueError(
                f"{source}: {name} has the shape {tuple(value.shape)}, "
                f"the base model's {tuple(weights[name].shape)}"
            )
        weights[name] = value
    return weights


def _changes(path: Path) -> dict[str, Tensor]:
    """Tensors of a projector or non-LoRA file, by their published names."""
    tensors = {name.removeprefix(PREFIX): value for name, value in read_file(path).items()}
    found = {
        PROJECTOR + name: value
        for name, value in (projector_tensors(tensors, path) if _has_projector(tensors) else {}).items()
    }
    for name, value in tensors.items():
        if "mm_projector." not in name:
            found[name if name.startswith(("model.", "lm_head.")) else "model." + name] = value
    return found


def _has_projector(tensors: Mapping[str, Tensor]) -> bool:
    return any("mm_projector." in name for name in tensors)


def _with_time_rows(
    base: Tensor, given: Tensor | None, num_rows: int, time_token_ids: Sequence[int], name: str, source: Path
) -> Tensor:
    """A base matrix with the rows of the time tokens from the adapter."""
    lost = [token for token in time_token_ids if token >= (len(base) if given is None else len(given))]
    if lost:
        raise ValueError(
            f"{source}: rows {lost[0]} to {lost[-1]} of {name}, the time tokens' rows, are missing: "
            f"neither the adapter nor the base model ({len(base)} rows) has them, so no time can be "
            "said. "
            "Save embed_tokens and lm_head with the projector when training."
        )
    if given is not None and given.shape[1:] != base.shape[1:]:
        raise ValueError(f"{source}: {name} is {given.shape[1]} wide, the base model's {base.shape[1]}")
    rows = grow_rows(base, num_rows) if len(base) < num_rows else base[:num_rows].clone()
    if given is not None and time_token_ids:
        index = torch.tensor(list(time_token_ids))
        rows[index] = given[index].to(rows.dtype)
    return rows


def _merge_lora(folder: Path, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add B A, scaled, to the weights that an adapter is for; return whole tensors saved beside."""
    settings = json.loads((folder / LORA_CONFIG).read_text(encoding="utf-8"))
    path = next((folder / name for name in LORA_FILES if (folder / name).is_file()), None)
    if path is None:
        raise FileNotFoundError(f"{folder}: {LORA_CONFIG} is there, but none of {', '.join(LORA_FILES)}")
    rank = settings["r"]
    scale = settings["lora_alpha"] / (math.sqrt(rank) if settings.get("use_rslora") else rank)
    tensors = {name.removeprefix(PREFIX): value for name, value in read_file(path).items()}
    whole: dict[str, Tensor] = {}
    for name, value in tensors.items():
        target, _, part = name.partition(".lora_")
        if not part:
            whole[name.replace(".modules_to_save.default", "").replace(".modules_to_save", "")] = value
        elif part.startswith("A"):
            partner = name.replace(".lora_A", ".lora_B")
            if partner not in tensors or target + ".weight" not in weights:
                raise ValueError(f"{path}: {name} has no {partner}, or the base model no {target}.weight")
            old = weights[target + ".weight"]
            delta = scale * tensors[partner].float() @ value.float()
            if delta.shape != old.shape:
                raise ValueError(
                    f"{path}: {target} is {tuple(delta.shape)} here, {tuple(old.shape)} in the base model"
                )
            weights[target + ".weight"] = (old.float() + delta).to(old.dtype)
    return whole
