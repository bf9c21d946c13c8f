"""LitaConfig: everything that a LITA is, as one record."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from transformers import AutoConfig, PreTrainedConfig

from litakit.messages import TEMPLATES
from litakit.modeling.visual_tokens import LAYOUTS, Layout, count_visual_tokens

CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "projector": ("linear", "mlp"),
        "visual_layout": LAYOUTS,
        "vision_feature_select": ("patch", "cls_patch"),
        "input_type": ("video", "image"),
        "image_aspect_ratio": ("square", "pad"),
        "chat_template": tuple(TEMPLATES),
        "time_codec": ("tokens", "seconds"),
    }
)
"""Fields of :class:`LitaConfig` that are one of a few words."""


class LitaConfig(PreTrainedConfig):
    """Configuration of :class:`~litakit.modeling.model.LitaForConditionalGeneration`.

    Attributes:
        vision_config: configuration of a CLIP-style vision tower (CLIP, SigLIP), as object or dict.
        text_config: configuration of a causal language model, as object or dict. Its vocabulary holds the
            language model's own pieces, then the time tokens, then one row for the places of the video.
        projector: "linear" (features are pooled, then projected) or "mlp" (two layers; every patch is
            projected, then the tokens are pooled, because the two orders differ there).
        projector_hidden_act: activation between the two layers of the "mlp" projector.
        visual_layout: which visual tokens are made (see :mod:`litakit.modeling.visual_tokens`).
        slow_pool: side of the slow tokens' pooling window, p; p * p frames are shown.
        num_frames: frames a video is sampled to, T.
        num_time_tokens: size N of the grid that answers name times on; 0 where times are plain seconds.
        time_token_ids: vocabulary ids of the N time tokens, in order.
        video_token_id: vocabulary id that fills the places of the visual tokens. It is never generated.
        vision_feature_layer: which hidden state of the vision tower is used (-2: the last but one).
        vision_feature_select: "patch" leaves the CLS token out, "cls_patch" keeps it (first of its frame).
        input_type: "video" makes the layout's tokens; "image" passes on every frame's patches in order.
        image_aspect_ratio: "square" crops the centre of a frame; "pad" first squares it with the mean colour.
        use_im_start_end: whether the visual places stand between ``<im_start>`` and ``<im_end>``.
        use_im_patch: whether the vocabulary also holds ``<im_patch>`` (never produced by us).
        chat_template: name of the chat template prompts are rendered with.
        time_codec: "tokens" or "seconds", how answers write times.
        max_sequence_length: longest sequence, in tokens, that prompt and answer may take together.
    """

    model_type: ClassVar[str] = "litakit"
    sub_configs: ClassVar[dict[str, Any]] = {"vision_config": AutoConfig, "text_config": AutoConfig}

    vision_config: Any = None
    text_config: Any = None
    projector: Literal["linear", "mlp"] = "linear"
    projector_hidden_act: str = "gelu"
    visual_layout: Layout = "temporal_spatial_pool"
    slow_pool: int = 2
    num_frames: int = 100
    num_time_tokens: int = 100
    time_token_ids: Any = None
    video_token_id: Any = None
    vision_feature_layer: int = -2
    vision_feature_select: Literal["patch", "cls_patch"] = "patch"
    input_type: Literal["video", "image"] = "video"
    image_aspect_ratio: Literal["square", "pad"] = "square"
    use_im_start_end: bool = False
    use_im_patch: bool = False
    chat_template: str = "llava_v1"
    time_codec: Literal["tokens", "seconds"] = "tokens"
    max_sequence_length: int = 2048
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        self.vision_config = _sub_config(self.vision_config, "clip_vision_model")
        if "vision_config" in self.vision_config.sub_configs:  # of a CLIP with a text half, the vision half
            self.vision_config = self.vision_config.vision_config
        self.text_config = _sub_config(self.text_config, "llama")
        vocab_size = self.text_config.vocab_size
        if self.video_token_id is None:
            self.video_token_id = vocab_size - 1
        if self.time_token_ids is None:
            first = self.video_token_id - self.num_time_tokens
            self.time_token_ids = list(range(first, self.video_token_id))
        self._check(vocab_size)
        super().__post_init__(**kwargs)

    def _check(self, vocab_size: int) -> None:
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
        ids = self.time_token_ids or []
        if len(ids) != self.num_time_tokens:
            raise ValueError(
                f"expected {self.num_time_tokens} time_token_ids (num_time_tokens), got {len(ids)}"
            )
        outside = [token for token in [*ids, self.video_token_id] if not 0 <= token < vocab_size]
        if outside:
            raise ValueError(
                f"time_token_ids and video_token_id must be rows of the vocabulary of {vocab_size} tokens "
                f"(text_config.vocab_size), got {outside[:3]}"
            )
        if self.video_token_id in ids:
            raise ValueError(
                f"video_token_id {self.video_token_id} is also one of time_token_ids: give it its own row"
            )
        if self.time_codec == "tokens" and self.num_time_tokens < 2:
            raise ValueError(f"time_codec 'tokens' needs at least 2 time tokens, got {self.num_time_tokens}")

    @property
    def vision_grid(self) -> tuple[int, int]:
        """Patches of a frame: (rows, columns)."""
        height, width = _pair(self.vision_config.image_size)
        patch_height, patch_width = _pair(self.vision_config.patch_size)
        return height // patch_height, width // patch_width

    @property
    def num_visual_tokens(self) -> int:
        """Places a video of ``num_frames`` frames takes in the sequence."""
        return self.count_visual_tokens(self.num_frames)

    def count_visual_tokens(self, num_frames: int) -> int:
        """Places a video of ``num_frames`` frames takes in the sequence."""
        num_cls_tokens = 1 if self.vision_feature_select == "cls_patch" else 0
        if self.input_type == "image":
            return num_frames * (self.vision_grid[0] * self.vision_grid[1] + num_cls_tokens)
        return count_visual_tokens(
            self.visual_layout, num_frames, self.vision_grid, self.slow_pool, num_cls_tokens
        )

    @property
    def feature_width(self) -> int:
        """Width of one stored video feature: the vision tower's, or for "mlp" the language model's."""
        width = self.vision_config.hidden_size if self.projector == "linear" else self.text_config.hidden_size
        return int(width)


def _sub_config(value: dict[str, Any] | PreTrainedConfig | None, model_type: str) -> PreTrainedConfig:
    if isinstance(value, PreTrainedConfig):
        return value
    fields = dict(value or {})
    return AutoConfig.for_model(fields.pop("model_type", model_type), **fields)


def _pair(size: int | list[int] | tuple[int, ...]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
