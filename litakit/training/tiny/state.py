"""Checkpoints and the metrics' log: what makes the recipe resumable."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import torch
from torch import nn

from litakit.files import write_atomic

logger = logging.getLogger(__name__)


def save_state(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Write weights, optimiser and the next step, whole or not at all."""
    buffer = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, buffer)
    write_atomic(path, buffer.getvalue())


def load_state(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> int:
    """Read what `save_state` wrote; the step to go on with, 0 where there is no file."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    if optimizer is not None:
        optimizer.load_state_dict(state["optimizer"])
    logger.info("going on at step %d of %s", state["step"], path.name)
    return int(state["step"])


def log_metrics(folder: Path, stage: str, step: int, **values: float) -> None:
    """Append a line to `metrics.jsonl`."""
    line = json.dumps(
        {"stage": stage, "step": step} | {name: round(value, 4) for name, value in values.items()}
    )
    logger.info("%s", line)
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
