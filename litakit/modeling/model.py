"""LitaForConditionalGeneration: a vision tower, a projector and a causal language model that reads video.

The language model's sequence holds, for every video, as many places as the video has visual tokens, each
filled with ``config.video_token_id``; their embeddings are replaced by the visual tokens. That id is never
generated: its logit is the smallest number of its type.
"""

import logging
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForCausalLM, GenerationMixin, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_outputs import CausalLMOutputWithPast

from litakit.modeling import places
from litakit.modeling.configuration import LitaConfig
from litakit.modeling.losses import next_token_loss
from litakit.modeling.visual_tokens import pool_visual_tokens

logger = logging.getLogger(__name__)


class LitaForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """A LITA model, loaded, saved and run like any model of transformers.

    Attributes:
        vision_tower: CLIP-style encoder of frames.
        projector: from the vision tower's width to the language model's.
        language_model: causal language model, head included.
    """

    config_class = LitaConfig
    main_input_name = "input_ids"
    input_modalities = ["video", "text"]  # noqa: RUF012
    supports_gradient_checkpointing = True
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012

    def __init__(self, config: LitaConfig) -> None:
        super().__init__(config)
        self.vision_tower = AutoModel.from_config(config.vision_config)
        self.projector = _make_projector(config)
        self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        self.post_init()

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | Path | None, *args: Any, **kwargs: Any
    ) -> Any:
        """Load a model as transformers does; a published LITA folder too.

        Args:
            pretrained_model_name_or_path: folder that `save_pretrained` wrote, or a published one's, or
                an adapter-only one.
            *args: as in transformers.
            **kwargs: as in transformers; for an adapter-only folder also ``base``, its base model's folder.

        Raises:
            FileNotFoundError, ValueError: as :func:`litakit.modeling.checkpoints.load_model`.
        """
        from litakit.modeling import checkpoints, published

        folder = pretrained_model_name_or_path
        if folder is None or not published.is_published(Path(folder)):
            return super().from_pretrained(folder, *args, **kwargs)
        base = kwargs.pop("base", None)
        config, state, _ = checkpoints.read_published(Path(folder), None if base is None else Path(base))
        options = {"dtype": state["projector.weight"].dtype, **kwargs}
        return checkpoints.build(config, state, options)

    @classmethod
    def from_parts(
        cls, llm: str | Path, vision: str | Path, projector: str | Path | None = None, **kwargs: Any
    ) -> Self:
        """Build an untrained LITA from the folders of its parts.

        The vocabulary grows by the time tokens and the video's row, all at the mean of the old rows.

        Args:
            llm: folder of a causal language model (Vicuna, Llama, ...), as transformers writes it.
            vision: folder of a CLIP-style vision tower.
            projector: a LLaVA projector file; without it the projector starts at random.
            **kwargs: see :func:`litakit.modeling.parts.model_from_parts`.
        """
        from litakit.modeling.parts import model_from_parts

        return model_from_parts(cls, llm=llm, vision=vision, projector=projector, **kwargs)

    @property
    def attention(self) -> str:
        """Attention implementation of the language model: "sdpa", "flash_attention_2", "eager"."""
        return str(self.language_model.config._attn_implementation)  # noqa: SLF001

    def get_input_embeddings(self) -> nn.Module:
        """Embedding layer of the language model."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the embedding layer of the language model."""
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """Head of the language model."""
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, value: nn.Module) -> None:
        """Replace the head of the language model."""
        self.language_model.set_output_embeddings(value)

    def grow_vocabulary(self, num_tokens: int) -> None:
        """Give embedding and head ``num_tokens`` rows; new rows are the mean of the old ones.

        Raises:
            ValueError: fewer rows than there are.
        """
        old = self.config.text_config.vocab_size
        if num_tokens < old:
            raise ValueError(f"the vocabulary has {old} rows and can only grow, got num_tokens={num_tokens}")
        from litakit.modeling.parts import set_rows_to_mean

        self.language_model.resize_token_embeddings(num_tokens, mean_resizing=False)
        self.config.text_config.vocab_size = num_tokens
        set_rows_to_mean(self.language_model, range(old, num_tokens), old)

    def get_video_features(self, pixel_values_videos: Tensor, chunk_frames: int = 16) -> Tensor:
        """Encode videos into what is worth keeping of them.

        Args:
            pixel_values_videos: normalised frames, (B, T, 3, H, W).
            chunk_frames: frames that go through the vision tower at once; it bounds memory.

        Returns:
            (B, N, ``config.feature_width``): pooled features before a "linear" projector; for an "mlp"
            projector, where pooling comes last, the visual tokens themselves.

        Raises:
            ValueError: pixels of another shape or size, or not normalised.
        """
        self._check_pixels(pixel_values_videos)
        return torch.stack([self._encode_video(frames, chunk_frames) for frames in pixel_values_videos])

    def _check_pixels(self, pixels: Tensor) -> None:
        if pixels.ndim != 5 or pixels.shape[2] != 3 or 0 in pixels.shape:
            raise ValueError(
                "pixel_values_videos must have the shape (videos, frames, 3, height, width), "
                f"got {tuple(pixels.shape)}"
            )
        if not pixels.is_floating_point():
            raise ValueError(
                f"pixel_values_videos must be normalised, floating-point pixels, got {pixels.dtype}: "
                "LitaProcessor makes them of frames"
            )

    def _encode_video(self, frames: Tensor, chunk_frames: int) -> Tensor:
        chunks = []
        rows, columns = self.config.vision_grid
        kept = rows * columns + (self.config.vision_feature_select == "cls_patch")
        for chunk in frames.split(chunk_frames):
            pixels = chunk.to(self.vision_tower.device, self.vision_tower.dtype)
            states = self.vision_tower(pixel_values=pixels, output_hidden_states=True).hidden_states
            features = states[self.config.vision_feature_layer]  # (t, CLS + S, D)
            if features.shape[1] < kept:
                raise ValueError(
                    f"vision_feature_select {self.config.vision_feature_select!r} needs {kept} features a "
                    f"frame, the vision tower gives {features.shape[1]}: it has no CLS token, use 'patch'"
                )
            features = features[:, features.shape[1] - kept :]
            chunks.append(self._project(features) if self.config.projector == "mlp" else features)
        x = torch.cat(chunks)  # (T, S, D)
        if self.config.input_type == "image":
            return x.flatten(0, 1)  # (T * S, D)
        return pool_visual_tokens(
            x[None], self.config.visual_layout, self.config.slow_pool, self.config.vision_grid
        )[0]

    def get_visual_tokens(self, video_features: Tensor) -> Tensor:
        """Visual tokens as the language model reads them, (B, N, D), of what :meth:`get_video_features` made.

        Raises:
            ValueError: features of another shape or width.
        """
        self._check_features(video_features)
        return self._project(video_features) if self.config.projector == "linear" else video_features

    def _check_features(self, features: Tensor) -> None:
        width = self.config.feature_width
        if features.ndim != 3 or features.shape[-1] != width or 0 in features.shape:
            raise ValueError(
                f"video_features must have the shape (videos, tokens, {width}), got {tuple(features.shape)}"
            )

    def _project(self, features: Tensor) -> Tensor:
        weight = next(self.projector.parameters())
        # quantised weights are not floating point
        dtype = weight.dtype if weight.is_floating_point() else self.vision_tower.dtype
        projected: Tensor = self.projector(features.to(weight.device, dtype))
        return projected

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        pixel_values_videos: Tensor | None = None,
        video_features: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        num_items_in_batch: int | Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast | tuple[Any, ...]:
        """Logits, and with ``labels`` the loss.

        Args:
            input_ids: (B, L); the places of visual tokens hold ``config.video_token_id``. With
                ``past_key_values`` only the ids that are not in the cache.
            attention_mask: (B, cached + L), 0 at padding, on either side.
            pixel_values_videos: frames, (V, T, 3, H, W), or
            video_features: what :meth:`get_video_features` made of them, (V, N, width). The V videos belong
                to the places in reading order, row by row; or V = B, one for each row, and those of rows
                without places are not used.
            position_ids: (B, L); by default counted along the attention mask, so that padding has no part in
                it.
            past_key_values: cache of keys and values.
            inputs_embeds: (B, L, D) instead of ``input_ids``; then no video can be given.
            labels: (B, L), -100 where there is no loss. They are shifted here.
            use_cache: whether to return the cache.
            logits_to_keep: last positions to compute logits of; 0 for all.
            num_items_in_batch: what the summed loss is divided by, see :func:`~.losses.next_token_loss`.
            return_dict: False for a tuple.
            **kwargs: passed on to the language model.

        Raises:
            ValueError: places and visual tokens that do not match, with both numbers.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("expected either input_ids or inputs_embeds, got both or neither")
        _check_one_kind(pixel_values_videos, video_features)
        if pixel_values_videos is not None:
            video_features = self.get_video_features(pixel_values_videos)
        if input_ids is not None:
            inputs_embeds = self._embed(input_ids, video_features)
        elif video_features is not None:
            raise ValueError(
                "a video needs input_ids to find its places: pass input_ids instead of inputs_embeds"
            )
        assert inputs_embeds is not None
        if position_ids is None:
            position_ids = places.position_ids_of_mask(attention_mask, inputs_embeds.shape[1])
        outputs = self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            return_dict=True,
            **kwargs,
        )
        logits = outputs.logits
        logits[..., self.config.video_token_id] = torch.finfo(logits.dtype).min
        if labels is not None:
            outputs["loss"] = next_token_loss(logits, labels, num_items_in_batch)
        result = CausalLMOutputWithPast(**outputs)
        return result.to_tuple() if return_dict is False else result

    def _embed(self, input_ids: Tensor, video_features: Tensor | None) -> Tensor:
        embeds: Tensor = self.get_input_embeddings()(input_ids)  # (B, L, D)
        if video_features is None:
            if input_ids.shape[1] > 1:  # a single id is a step of generation, which never makes a place
                places.check_no_places(input_ids, self.config.video_token_id)
            if self.training:  # data-parallel training waits for the projector's gradient on every rank
                nothing = embeds.new_zeros(1, 1, self.config.vision_config.hidden_size)
                return embeds + 0 * self._project(nothing).sum().to(embeds.device, embeds.dtype)
            return embeds
        self._check_features(video_features)
        is_place, used = places.find_places(input_ids, self.config.video_token_id, *video_features.shape[:2])
        tokens = self.get_visual_tokens(video_features[used]).to(embeds.device, embeds.dtype)
        return embeds.masked_scatter(is_place[..., None].to(embeds.device), tokens)

    def generate(
        self,
        inputs: Tensor | None = None,
        *args: Any,
        pixel_values_videos: Tensor | None = None,
        video_features: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Generate as transformers does; every argument of its ``generate`` is taken.

        The vision tower runs once, before the first token, however many beams there are; not at all where
        ``past_key_values`` already hold every place of the video.

        Raises:
            ValueError: a cache that ends inside the places of a video, or that leaves nothing to read; pixels
                and features together.
        """
        _check_one_kind(pixel_values_videos, video_features)
        input_ids = kwargs.get("input_ids") if inputs is None else inputs
        if input_ids is not None and kwargs.get("past_key_values") is not None:
            num_new = places.count_new_ids(input_ids, kwargs.get("attention_mask"), kwargs["past_key_values"])
            if not places.new_ids_need_video(input_ids, num_new, self.config.video_token_id):
                pixel_values_videos = video_features = None
        if pixel_values_videos is not None:
            with torch.no_grad():
                video_features = self.get_video_features(pixel_values_videos)
        if video_features is not None:
            kwargs["video_features"] = video_features
        return super().generate(inputs, *args, **kwargs)  # type: ignore[misc]

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, *args: Any, inputs_embeds: Tensor | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Inputs of one step: the features go in only with the ids that hold their places."""
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(  # type: ignore[misc]
            input_ids,  # type: ignore[arg-type]
            *args,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        ids = inputs.get("input_ids")
        if inputs.get("video_features") is not None and not self._holds_places(ids):
            inputs.pop("video_features")
        return inputs

    def _expand_inputs_for_generation(
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: Tensor | None = None,
        video_features: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Any, dict[str, Any]]:
        """Rows repeated for beams and samples; the videos of a row go along with it."""
        ids, inputs = super()._expand_inputs_for_generation(  # type: ignore[misc]
            expand_size,
            is_encoder_decoder,
            input_ids,  # type: ignore[arg-type]
            **kwargs,
        )
        if video_features is not None:
            inputs["video_features"] = places.repeat_videos(
                video_features, input_ids, self.config.video_token_id, expand_size
            )
        return ids, inputs

    def _holds_places(self, ids: Tensor | None) -> bool:
        """Whether some ids are places; a single id is a step of generation, which never makes one."""
        return ids is not None and ids.shape[1] > 1 and bool((ids == self.config.video_token_id).any())


def _check_one_kind(pixel_values_videos: Tensor | None, video_features: Tensor | None) -> None:
    if pixel_values_videos is not None and video_features is not None:
        raise ValueError("expected either pixel_values_videos or video_features, got both")


def _make_projector(config: LitaConfig) -> nn.Module:
    vision_width, text_width = config.vision_config.hidden_size, config.text_config.hidden_size
    if config.projector == "linear":
        return nn.Linear(vision_width, text_width)
    activation = ACT2FN[config.projector_hidden_act]
    return nn.Sequential(nn.Linear(vision_width, text_width), activation, nn.Linear(text_width, text_width))
