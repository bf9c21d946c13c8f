"""Reading the features of a file straight into memory that is there: one copy, for training."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

NAME = "features"
LENGTH_BYTES = 8
GUESS_BYTES = 4096
"""The head of a file of ours is shorter: one call of the system reads it."""

DTYPES = {"F16": "torch.float16", "BF16": "torch.bfloat16", "F32": "torch.float32"}


def read_features(path: str | os.PathLike[str], out: Tensor) -> None:
    """Read the tensor called "features" of a safetensors file into a tensor.

    Args:
        path: the file.
        out: contiguous, on the CPU, of the file's type and shape.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds features of another type or shape, is cut off, or is no such file.

    >>> import tempfile, torch
    >>> from safetensors.torch import save_file
    >>> with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
    ...     save_file({"features": torch.arange(6.0).reshape(2, 3)}, file.name)
    ...     batch = torch.empty(4, 2, 3)
    ...     read_features(file.name, batch[1])
    >>> batch[1].tolist()
    [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    """
    target = _bytes_of(out)
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        start = _find(source, path, out, len(target))
        done = 0
        while done < len(target):
            count = os.preadv(source, [target[done:]], start + done)
            if count == 0:
                raise ValueError(
                    f"{os.fspath(path)}: cut off, {len(target) - done} bytes of features are missing"
                )
            done += count
    finally:
        os.close(source)


def _bytes_of(out: Tensor) -> memoryview:
    import torch

    if not out.is_contiguous() or out.device.type != "cpu":
        raise ValueError(
            f"expected a contiguous tensor on the CPU to read into, got {tuple(out.shape)} on {out.device}"
        )
    return out.view(-1).view(torch.uint8).numpy().data


def _find(source: int, path: str | os.PathLike[str], out: Tensor, num_bytes: int) -> int:
    """Return where in a file the features begin, after making sure that they fit."""
    head = os.pread(source, GUESS_BYTES, 0)
    length = int.from_bytes(head[:LENGTH_BYTES], "little")
    start = LENGTH_BYTES + length
    try:
        if start > len(head):
            if len(head) < LENGTH_BYTES or start > os.fstat(source).st_size:
                raise ValueError("its head is cut off")
            head = os.pread(source, start, 0)
        entry = json.loads(head[LENGTH_BYTES:start])[NAME]
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{os.fspath(path)}: cannot be read as features ({error})") from error
    if DTYPES.get(dtype) != str(out.dtype) or shape != list(out.shape) or end - begin != num_bytes:
        raise ValueError(
            f"{os.fspath(path)}: expected features of the shape {tuple(out.shape)} in {out.dtype}, "
            f"got {tuple(shape)} in {DTYPES.get(dtype, dtype)}"
        )
    return start + begin
