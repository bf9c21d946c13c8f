"""Which attention runs: flash-attn where it is installed and fits, else torch's own."""

import logging

import torch
from transformers.utils.import_utils import is_flash_attn_2_available

logger = logging.getLogger(__name__)

HALF_TYPES = (torch.float16, torch.bfloat16)


def choose_attention(requested: str, dtype: torch.dtype, device: torch.device | str) -> str:
    """Name of the attention implementation to load a model with, said in the log.

    Args:
        requested: "auto", or a name that transformers knows ("sdpa", "eager", "flash_attention_2").
        dtype: type of the weights.
        device: where the model will run.

    Returns:
        ``requested``, or for "auto" "flash_attention_2" where flash-attn is installed, the device is a CUDA
        GPU of compute capability 8.0 or more and the weights are half precision; else "sdpa".

    >>> choose_attention("auto", torch.float32, "cpu")
    'sdpa'
    """
    if requested != "auto":
        logger.info("attention: %s, as asked", requested)
        return requested
    obstacle = _flash_obstacle(dtype, torch.device(device))
    if obstacle is None:
        logger.info("attention: flash_attention_2")
        return "flash_attention_2"
    logger.info("attention: sdpa (flash-attn not used: %s)", obstacle)
    return "sdpa"


def _flash_obstacle(dtype: torch.dtype, device: torch.device) -> str | None:
    if device.type != "cuda":
        return f"it needs a CUDA GPU, the device is {device.type}"
    if dtype not in HALF_TYPES:
        return f"it needs float16 or bfloat16, the weights are {dtype}"
    capability = torch.cuda.get_device_capability(device)
    if capability < (8, 0):
        return f"it needs compute capability 8.0, the GPU has {capability[0]}.{capability[1]}"
    if not is_flash_attn_2_available():
        return "it is not installed"
    return None
