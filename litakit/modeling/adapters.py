"""Folders that hold only what training changed: projector files and LoRA adapters, laid over a base model."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from litakit.modeling.parts import grow_rows, projector_tensors
from litakit.modeling.published import EMBEDDING, HEAD, PROJECTOR, read_fields
from litakit.modeling.weights import read_file, weight_files

logger = logging.getLogger(__name__)

PROJECTOR_FILES = ("mm_projector.bin", "mm_projector.safetensors")
LORA_CONFIG, OTHERS_FILE = "adapter_config.json", "non_lora_trainables.bin"
LORA_FILES = ("adapter_model.safetensors", "adapter_model.bin")
PREFIX = "base_model.model."


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds changes to a base model, and no model."""
    try:
        weight_files(folder)
    except FileNotFoundError:
        return any((folder / name).is_file() for name in (*PROJECTOR_FILES, LORA_CONFIG, OTHERS_FILE))
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
    changes: dict[str, Tensor] = {}
    for name in (OTHERS_FILE, *PROJECTOR_FILES):
        if (folder / name).is_file():
            changes |= _changes(folder / name)
    if not any(name.startswith(PROJECTOR) for name in [*changes, *weights]):
        raise FileNotFoundError(
            f"{folder}: expected a projector in {OTHERS_FILE} or {PROJECTOR_FILES[0]}, found none"
        )
    pairs: dict[str, Tensor] = {}
    if (folder / LORA_CONFIG).is_file():
        pairs, whole = _read_lora(folder)
        changes |= whole
    files = [folder / name for name in (*PROJECTOR_FILES, OTHERS_FILE)]
    source = next((file for file in files if file.is_file()), folder)
    for name in (EMBEDDING, HEAD):
        if name not in weights:
            raise ValueError(
                f"the base model of {folder} lacks the tensor {name}: give a Llama's or LITA's folder"
            )
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
    if pairs:
        _merge_lora(folder, pairs, weights)
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
    if given is not None and given.shape[1:] != base.shape[1:]:
        raise ValueError(f"{source}: {name} is {given.shape[1]} wide, the base model's {base.shape[1]}")
    taken = [token for token in time_token_ids if given is not None and token < len(given)]
    lost = [token for token in time_token_ids if token not in taken and token >= len(base)]
    if lost:
        raise ValueError(
            f"{source}: rows {lost[0]} to {lost[-1]} of {name}, the time tokens' rows, are missing: neither "
            f"the adapter nor the base model ({len(base)} rows) has them, so no time can be said. Save "
            "embed_tokens and lm_head with the projector when training"
        )
    known = set(taken)
    unknown = [row for row in range(len(base), num_rows) if row not in known]
    if unknown:
        logger.warning(
            "%s: rows %d to %d of %s are nowhere, they start as the mean of the others",
            source,
            unknown[0],
            unknown[-1],
            name,
        )
    rows = grow_rows(base, max(num_rows, len(base)))
    if given is not None and taken:
        rows[taken] = given[taken].to(rows.dtype)
    return rows


def _read_lora(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Matrices A and B of an adapter, and the tensors that it saved whole, by their published names."""
    path = _lora_file(folder)
    pairs: dict[str, Tensor] = {}
    whole: dict[str, Tensor] = {}
    for full, value in read_file(path).items():
        name = full.removeprefix(PREFIX)
        _, _, part = name.partition(".lora_")
        if not part:
            whole[name.replace(".modules_to_save.default", "").replace(".modules_to_save", "")] = value
        elif part in ("A.weight", "B.weight", "A.default.weight", "B.default.weight"):
            pairs[name.replace(".default", "")] = value
        else:
            raise ValueError(f"{path}: {full} is of no plain LoRA, only matrices A and B can be merged")
    return pairs, whole


def _merge_lora(folder: Path, pairs: Mapping[str, Tensor], weights: dict[str, Tensor]) -> None:
    """Add B A, scaled, to the weights that an adapter is for."""
    path, settings = _lora_file(folder), read_fields(folder / LORA_CONFIG)
    if settings.get("alpha_pattern"):
        raise ValueError(f"{folder / LORA_CONFIG}: alpha_pattern is not supported, merge it with peft first")
    for name, a in pairs.items():
        target, _, part = name.partition(".lora_")
        if part != "A.weight":
            continue
        b = pairs.get(f"{target}.lora_B.weight")
        if b is None:
            raise ValueError(f"{path}: {target}.lora_B.weight is missing, {name} is there")
        old = weights.get(f"{target}.weight")
        if old is None:
            if not b.any():  # never trained, as on a frozen vision tower that lies elsewhere
                continue
            raise ValueError(f"{path}: it changes {target}.weight, which the base model does not have")
        rank = len(a)
        scale = settings["lora_alpha"] / (math.sqrt(rank) if settings.get("use_rslora") else rank)
        delta = scale * b.float() @ a.float()
        if delta.shape != old.shape:
            raise ValueError(
                f"{path}: {target}.weight has the shape {tuple(delta.shape)}, "
                f"the base model's {tuple(old.shape)}"
            )
        weights[f"{target}.weight"] = (old.float() + delta).to(old.dtype)


def _lora_file(folder: Path) -> Path:
    path = next((folder / name for name in LORA_FILES if (folder / name).is_file()), None)
    if path is None:
        raise FileNotFoundError(f"{folder}: {LORA_CONFIG} is there, but none of {', '.join(LORA_FILES)}")
    return path
