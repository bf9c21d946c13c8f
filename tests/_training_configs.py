"""Small configs to plan and to train, and folders of parts that hold no weights."""

from pathlib import Path
from typing import Any

from transformers import CLIPVisionConfig, LlamaConfig

from litakit.training.config import TrainConfig

SHAPE = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}


def small_config(**changes: Any) -> TrainConfig:
    """Ten steps of two samples from the bundled model."""
    given = {"lita": "tiny", "mixture": "nowhere", "features": "features", "steps": 10, "batch_size": 2}
    return TrainConfig(**{**given, **changes})


def parts_without_weights(folder: Path) -> dict[str, Any]:
    """Fields of a config whose language model and vision tower are folders with a configuration alone."""
    LlamaConfig(vocab_size=60, num_key_value_heads=2, **SHAPE).save_pretrained(folder / "llm")
    CLIPVisionConfig(image_size=16, patch_size=4, **VISION).save_pretrained(folder / "vision")
    return {"lita": None, "llm": str(folder / "llm"), "vision": str(folder / "vision"), "chat_template": "v1"}
