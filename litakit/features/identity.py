"""What features were made from, as digests: a video's bytes, and the weights that looked at it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    from torch import Tensor
    from transformers import PreTrainedConfig

    from litakit.modeling import LitaForConditionalGeneration

DIGEST_BYTES = 32

# What of the configuration decides what `get_video_features` gives; the sub-configurations go in whole.
ENCODER_FIELDS = (
    "projector",
    "projector_hidden_act",
    "visual_layout",
    "slow_pool",
    "vision_feature_layer",
    "vision_feature_select",
    "input_type",
)

# What a vision tower's configuration also says without changing a feature.
NO_PART = ("projection_dim", "initializer_range", "initializer_factor")


def content_digest(source: str | os.PathLike[str]) -> str:
    """Return the digest of a video's content: a file's bytes, or the names and bytes of a folder's files.

    Where the file lies and what it is called has no part in it.

    Args:
        source: a file, or a folder of frames; folders inside it are left out.

    Raises:
        OSError: it cannot be read, or is a device or a pipe, which may never end.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     a, b = Path(folder) / "a.mp4", Path(folder) / "b.mp4"
    ...     _ = a.write_bytes(b"same"), b.write_bytes(b"same")
    ...     content_digest(a) == content_digest(b), content_digest(a) == content_digest(folder)
    (True, False)
    """
    path = Path(source)
    if not path.is_dir():
        return _file_digest(path)
    names = sorted(child.name for child in path.iterdir() if child.is_file())
    return key_digest({"frames": [[name, _file_digest(path / name)] for name in names]})


def encoder_digest(model: LitaForConditionalGeneration) -> str:
    """Return the digest of everything in a model that shapes its video features.

    That is the vision tower's weights, their type and its configuration, and how its output is pooled; for an
    "mlp" projector, which comes before the pooling, the projector too. All bytes of the weights are
    read (about a second for CLIP ViT-L). The language model has no part in it: fine-tuning it keeps the
    features.
    """
    parts = {"vision_tower": model.vision_tower}
    if model.config.projector == "mlp":
        parts["projector"] = model.projector
    weights = {
        f"{part}.{name}": tensor_digest(tensor)
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
    }
    config = {name: getattr(model.config, name) for name in ENCODER_FIELDS}
    vision_config = _vision_settings(model.config.vision_config)
    return key_digest({"config": config, "vision_config": vision_config, "weights": weights})


def _vision_settings(config: PreTrainedConfig) -> dict[str, Any]:
    """What a configuration says of the vision tower, however old or chatty the file that it was read from.

    Fields that every model of transformers has, and unknown ones that old files bring along, have no part.
    """
    from transformers import PreTrainedConfig

    common = {field.name for field in dataclasses.fields(PreTrainedConfig)}
    own = [field.name for field in dataclasses.fields(config) if field.name not in common]
    values = config.to_dict()
    return {"model_type": config.model_type} | {name: values[name] for name in own if name not in NO_PART}


def key_digest(record: dict[str, Any]) -> str:
    """Return the digest of a JSON-like record, whatever the order of its keys: 64 hexadecimal digits.

    Raises:
        TypeError: it holds something that JSON cannot say.

    >>> key_digest({"a": 1, "b": 2}) == key_digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(record, sort_keys=True, allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()


def _file_digest(path: Path) -> str:
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is neither a regular file nor a folder")
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()


def tensor_digest(tensor: Tensor) -> str:
    """Return the digest of a tensor's type, shape and bytes."""
    import torch

    plain = tensor.detach().cpu().contiguous()
    raw = plain.reshape(-1).view(torch.uint8).numpy()
    head = f"{plain.dtype} {tuple(plain.shape)} "
    digest = hashlib.blake2b(head.encode(), digest_size=DIGEST_BYTES)
    digest.update(raw.data)
    return digest.hexdigest()
