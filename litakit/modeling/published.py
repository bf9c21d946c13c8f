"""Published LITA folders: what their `config.json` means, and what their tensors are called here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import CLIPVisionConfig, LlamaConfig

from litakit.modeling.configuration import LitaConfig
from litakit.modeling.weights import read_weights

MODEL_TYPE = "lita"
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
PROJECTOR, VISION = "model.mm_projector.", "model.vision_tower.vision_tower."
IGNORED = ("rotary_emb.inv_freq", "embeddings.position_ids")
"""Buffers that are computed, not learnt."""
CLIP_LARGE = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
}
KNOWN_TOWERS: Mapping[str, Mapping[str, Any]] = {
    "openai/clip-vit-large-patch14": {**CLIP_LARGE, "image_size": 224},
    "openai/clip-vit-large-patch14-336": {**CLIP_LARGE, "image_size": 336},
}
"""Vision towers whose configuration is known, so that a checkpoint that holds the weights is enough."""
TEXT_FIELDS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "hidden_act",
    "max_position_embeddings",
    "initializer_range",
    "rms_norm_eps",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "rope_scaling",
    "rope_theta",
    "tie_word_embeddings",
    "attention_bias",
)


def read_config(folder: Path) -> dict[str, Any]:
    """A folder's `config.json`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not JSON with fields.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a model's configuration, found no such file")
    return read_fields(path)


def is_published(folder: Path) -> bool:
    """Whether a folder is a published LITA's or an adapter's, by its `config.json`."""
    if not (folder / "config.json").is_file():
        return False
    fields = read_config(folder)
    return fields.get("model_type") != LitaConfig.model_type and "mm_vision_tower" in fields


def read_fields(path: Path) -> dict[str, Any]:
    """Fields of a JSON file.

    Raises:
        ValueError: it is not JSON with fields.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{path}: expected fields, got {type(fields).__name__}")  # noqa: TRY004
    return fields


def vision_folder(folder: Path, tower: str) -> Path | None:
    """Where a vision tower's folder lies: beside the checkpoint, at its path, or in the hub's local cache."""
    for place in (folder / tower, Path(tower).expanduser()):
        if (place / "config.json").is_file():
            return place
    return _cached(tower)


def _cached(name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    if name.count("/") != 1 or name.startswith((".", "/")):
        return None
    found = try_to_load_from_cache(name, "config.json")
    return Path(found).parent if isinstance(found, str) else None


def vision_config(folder: Path, tower: str) -> CLIPVisionConfig:
    """The configuration of a checkpoint's vision tower.

    Raises:
        FileNotFoundError: the tower is neither known nor at hand.
    """
    place = vision_folder(folder, tower)
    if place is not None:
        fields = read_config(place)
        return CLIPVisionConfig(**fields.get("vision_config", fields))
    for name, known in KNOWN_TOWERS.items():
        if tower == name or Path(tower).name == Path(name).name:  # a copy of it, on the author's disk
            return CLIPVisionConfig(**known)
    raise FileNotFoundError(
        f"{folder}: its vision tower {tower!r} is not a folder here, not in the hub's cache and not one of "
        f"{', '.join(KNOWN_TOWERS)}: download it and set mm_vision_tower in config.json to its folder"
    )


def published_config(folder: Path, vocab_size: int) -> LitaConfig:
    """What a published `config.json` means; absent fields and nulls as the published code reads absent ones.

    The vocabulary gets one row more, for the places of the video.

    Args:
        folder: of the checkpoint.
        vocab_size: rows of the published embedding; the file's own number may be older.

    Raises:
        FileNotFoundError: as `read_config` and `vision_config`.
        ValueError: a switch that is out of scope, or fields that do not fit each other.
    """
    path = folder / "config.json"
    fields = {name: value for name, value in read_config(folder).items() if value is not None}
    tower = fields.get("mm_vision_tower")
    if tower is None:
        raise ValueError(f"{path}: it names no mm_vision_tower, so this is no LITA")
    vision = vision_config(folder, tower)
    try:
        return _lita_config(fields, vision, vocab_size)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _lita_config(fields: Mapping[str, Any], vision: CLIPVisionConfig, rows: int) -> LitaConfig:
    text = LlamaConfig(
        **{name: fields[name] for name in TEXT_FIELDS if name in fields} | {"vocab_size": rows + 1}
    )
    num_time_tokens = fields.get("num_time_tokens", 0)
    return LitaConfig(
        vision_config=vision,
        text_config=text,
        projector="linear",
        visual_layout=fields.get("video_arch", "temporal"),
        num_frames=fields.get("num_frames", 100),
        num_time_tokens=num_time_tokens,
        time_token_ids=fields.get("time_token_ids", []) if num_time_tokens else [],
        video_token_id=rows,
        vision_feature_layer=fields.get("mm_vision_select_layer", -2),
        vision_feature_select=fields.get("mm_vision_select_feature", "patch"),
        input_type=fields.get("input_type", "image"),
        image_aspect_ratio=fields.get("image_aspect_ratio", "square"),
        use_im_start_end=fields.get("mm_use_im_start_end", False),
        use_im_patch=fields.get("mm_use_im_patch_token", False),
        time_codec="tokens" if num_time_tokens else "seconds",
        max_sequence_length=fields.get("max_sequence_length", 2048),
        tie_word_embeddings=text.tie_word_embeddings,
    )


def our_name(name: str) -> str | None:
    """The name a published tensor has in `LitaForConditionalGeneration`; None for one that is not needed.

    >>> our_name("model.mm_projector.weight"), our_name("lm_head.weight")
    ('projector.weight', 'language_model.lm_head.weight')
    >>> our_name("model.layers.0.self_attn.rotary_emb.inv_freq") is None
    True
    """
    if name.endswith(IGNORED):
        return None
    if name.startswith(PROJECTOR):
        return "projector." + name.removeprefix(PROJECTOR)
    if name.startswith(VISION):
        return "vision_tower." + vision_name(name.removeprefix(VISION))
    return "language_model." + name


def published_name(name: str) -> str:
    """The name that one of our parameters has in a published checkpoint: `our_name` backwards.

    >>> published_name("projector.weight")
    'model.mm_projector.weight'
    """
    if name.startswith("vision_tower."):
        return VISION + "vision_model." + name.removeprefix("vision_tower.")
    if name.startswith("projector."):
        return PROJECTOR + name.removeprefix("projector.")
    return name.removeprefix("language_model.")


def vision_name(name: str) -> str:
    """The name a tensor of a published vision tower has in the tower as transformers builds it now."""
    return name.removeprefix("vision_model.")


def vision_weights(folder: Path, tower: str) -> dict[str, Tensor]:
    """Weights of a vision tower that lies outside the checkpoint, by their published names.

    Raises:
        FileNotFoundError: it is not at hand, with where it could be had.
    """
    place = vision_folder(folder, tower)
    if place is None:
        raise FileNotFoundError(
            f"{folder}: the checkpoint holds no vision weights and its mm_vision_tower {tower!r} is neither "
            f"a folder nor in the hub's cache: download it (huggingface-cli download {tower})"
        )
    found = read_weights(place)
    return {VISION + name: value for name, value in found.items() if name.startswith("vision_model.")}
