"""Reading weights from files: shards of either format, lazily, and never as free pickles."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

SAFETENSORS, TORCH = "model*.safetensors", "pytorch_model*.bin"
SAFETENSORS_INDEX, TORCH_INDEX = "model.safetensors.index.json", "pytorch_model.bin.index.json"


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a folder's weights: safetensors, else torch files; those of an index, where one is.

    Raises:
        FileNotFoundError: there are none, or the index names a file that is not there.
        ValueError: the index cannot be read.
    """
    for pattern, name in ((SAFETENSORS, SAFETENSORS_INDEX), (TORCH, TORCH_INDEX)):
        if (folder / name).is_file():
            return _indexed(folder / name)
        if files := sorted(folder.glob(pattern)):
            return files
    raise FileNotFoundError(f"{folder}: expected weights ({SAFETENSORS} or {TORCH}), found none")


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder by name, mapped from disk rather than read, as far as the format allows.

    Raises:
        FileNotFoundError: as `weight_files`; an index names a tensor that no file holds.
        ValueError: a file that cannot be read, or one tensor in two files.
    """
    weights: dict[str, Tensor] = {}
    files = weight_files(folder)
    for file in files:
        for name, tensor in read_file(file).items():
            if name in weights:
                raise ValueError(f"{file}: the tensor {name} is in another file of {folder} too")
            weights[name] = tensor
    for index in folder.glob("*.index.json"):
        promised = _weight_map(index)
        lost = sorted(name for name in promised if name not in weights)
        if lost and set(promised.values()) <= {file.name for file in files}:
            raise ValueError(
                f"{folder / promised[lost[0]]}: the tensor {lost[0]} is missing, "
                f"which {index.name} says is there"
            )
    return weights


def read_file(path: Path) -> dict[str, Tensor]:
    """The tensors of one file.

    Torch files are read with `weights_only`: one that would run code is refused.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is cut off, of another format, or holds other things than tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a file of weights, found none")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        loaded = _read_torch(path)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: refused, it holds more than tensors and could run code when it is loaded"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(
            f"{path}: cannot be read as weights, is it cut off? ({_first_line(error)})"
        ) from error
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ValueError(f"{path}: expected tensors by name, got {type(loaded).__name__}")
    return dict(loaded)


def _read_torch(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):  # files of before torch 1.6 cannot be mapped
            raise
    return torch.load(path, map_location="cpu", weights_only=True)


def _indexed(index: Path) -> list[Path]:
    names = sorted(set(_weight_map(index).values()))
    files = [index.parent / name for name in names]
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"{file}: {index.name} names this shard, but it is not there")
    return files


def _weight_map(index: Path) -> dict[str, str]:
    try:
        return dict(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{index}: cannot be read as an index of weights ({_first_line(error)})") from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def find_file(name: str, folders: Iterable[Path]) -> Path | None:
    """The file of some folders that holds a tensor, for messages."""
    for folder in folders:
        for file in weight_files(folder):
            if name in read_file(file):
                return file
    return None


def check_tensors(
    state: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    folders: Sequence[Path],
    file_name: Callable[[str], str] = str,
) -> None:
    """Hold tensors against those that a model wants.

    Args:
        state: tensors by the model's names.
        expected: the model's own, for their shapes.
        folders: where the tensors came from, the checkpoint's first, for messages.
        file_name: from the model's name of a tensor to its name in the files.

    Raises:
        ValueError: tensors missing, of another shape, or that the model has no place for.
    """
    missing = sorted(file_name(name) for name in expected.keys() - state.keys())
    if missing:
        raise ValueError(
            f"{folders[0]}: lacks {len(missing)} tensors of the model: {', '.join(missing[:3])}"
            f"{', ...' if len(missing) > 3 else ''}"
        )
    for ours, tensor in state.items():
        wanted = expected[ours].shape if ours in expected else None
        if wanted == tensor.shape:
            continue
        name = file_name(ours)
        where = find_file(name, folders) or folders[0]
        if wanted is None:
            raise ValueError(f"{where}: the model has no place for the tensor {name}")
        raise ValueError(f"{where}: expected {name} of shape {tuple(wanted)}, got {tuple(tensor.shape)}")
