"""Where a model runs and in which type, chosen for the machine."""

from __future__ import annotations

import logging

import torch

logger = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(requested: str | torch.device | None) -> torch.device:
    """The device asked for, else the first CUDA GPU, else Apple's, else the CPU.

    Raises:
        ValueError: it is not a device, or not of this machine.

    >>> choose_device("cpu")
    device(type='cpu')
    """
    if requested is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        logger.info("device: %s", name)
        return torch.device(name)
    try:
        device = torch.device(requested)
    except RuntimeError as error:
        raise ValueError(f"expected a device such as cpu, cuda, cuda:1 or mps, got {requested!r}") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {requested!r} was asked for, this machine has {torch.cuda.device_count()} CUDA GPUs"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device {requested!r} was asked for, this machine has no such GPU")
    return device


def choose_dtype(requested: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """The type asked for, else float32 on a CPU, bfloat16 on a GPU that has it, float16 on others.

    Raises:
        ValueError: not a floating-point type that models are kept in.

    >>> choose_dtype(None, torch.device("cpu"))
    torch.float32
    """
    if isinstance(requested, torch.dtype):
        requested = str(requested).removeprefix("torch.")
    if requested is not None:
        if requested not in DTYPES:
            raise ValueError(f"expected a dtype out of {', '.join(DTYPES)}, got {requested!r}")
        return DTYPES[requested]
    if device.type == "cpu":
        return torch.float32
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        return torch.float16
    return torch.bfloat16 if device.type == "cuda" else torch.float16
