"""DeepSpeed's configuration, derived from a `TrainConfig`: never written or kept by hand."""

from __future__ import annotations

from typing import Any

from litakit.training.config import TrainConfig

AUTO = "auto"
"""Filled in by transformers' Trainer, which knows the number of processes and the model's width."""


def deepspeed_config(config: TrainConfig) -> dict[str, Any]:
    """Return what DeepSpeed is to do, as its JSON has it; what is not named there is DeepSpeed's default.

    Optimiser and schedule are the Trainer's. The numbers that the Trainer has, too (batch, accumulation,
    clipping, precision), stand here as they are, so that it refuses to start where the two differ.

    Args:
        config: what is to be trained, and how.

    >>> from litakit.training.config import load_config
    >>> deepspeed_config(load_config("tiny"))["zero_optimization"]
    {'stage': 2, 'reduce_bucket_size': 'auto'}
    """
    return {
        "train_batch_size": AUTO,
        "train_micro_batch_size_per_gpu": config.batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation,
        "gradient_clipping": 0.0 if config.max_grad_norm is None else config.max_grad_norm,
        # Both are said: transformers takes a configuration that says neither for fp16.
        "bf16": {"enabled": config.precision == "bf16"},
        "fp16": {"enabled": config.precision == "fp16"},
        "zero_optimization": _zero(config),
    }


def _zero(config: TrainConfig) -> dict[str, Any]:
    if config.zero == 0:
        return {"stage": 0}
    zero: dict[str, Any] = {"stage": config.zero, "reduce_bucket_size": AUTO}
    if config.zero == 3:
        zero |= {
            "stage3_prefetch_bucket_size": AUTO,
            "stage3_param_persistence_threshold": AUTO,
            # Without it a saved model is the shards of one process.
            "stage3_gather_16bit_weights_on_model_save": True,
        }
    if config.offload != "none":
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if config.offload == "all":
        zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    return zero
