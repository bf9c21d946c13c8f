"""LitaProcessor: from messages and frames to the tensors that the model takes, and from ids back to words."""

import logging
from collections.abc import Sequence
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import BatchFeature, ProcessorMixin

from litakit.messages import VIDEO, ChatTemplate, Message, get_template, render_turns
from litakit.modeling.configuration import LitaConfig
from litakit.modeling.losses import IGNORED
from litakit.modeling.tokenizer import IM_END, IM_START
from litakit.time_tokens import TimeCodec, make_time_codec
from litakit.video import FrameBatch, FrameTransform

logger = logging.getLogger(__name__)

Video = FrameBatch | np.ndarray | Tensor
TooLong = Literal["refuse", "cut", "keep"]


class LitaProcessor(ProcessorMixin):
    """Everything between a conversation about a video and the model's tensors.

    Args:
        image_processor: settings of the frames' preprocessing (size, mean, standard deviation).
        tokenizer: a tokenizer with the time tokens, :class:`~litakit.modeling.tokenizer.LitaTokenizer`.
        num_frames: frames a video is sampled to.
        num_visual_tokens: places a video takes in the sequence.
        video_token_id: the id that fills a place. No words of a user give it, and it is no token of the
            tokenizer.
        template_name: chat template, by name.
        time_codec_name: how answers write times, "tokens" or "seconds".
        num_time_tokens: size of the grid of time tokens; 0 where times are seconds.
        image_aspect_ratio: "square" crops the centre of a frame, "pad" squares it with the mean colour first.
        use_im_start_end: whether the places stand between ``<im_start>`` and ``<im_end>``.
        max_sequence_length: longest sequence, in tokens.
    """

    def __init__(
        self,
        image_processor: Any,
        tokenizer: Any,
        num_frames: int = 100,
        num_visual_tokens: int = 356,
        video_token_id: int = 32100,
        template_name: str = "llava_v1",
        time_codec_name: str = "tokens",
        num_time_tokens: int = 100,
        image_aspect_ratio: Literal["square", "pad"] = "square",
        use_im_start_end: bool = False,
        max_sequence_length: int = 2048,
    ) -> None:
        get_template(template_name)
        self.num_frames = num_frames
        self.num_visual_tokens = num_visual_tokens
        self.video_token_id = video_token_id
        self.template_name = template_name
        self.time_codec_name = time_codec_name
        self.num_time_tokens = num_time_tokens
        self.image_aspect_ratio = image_aspect_ratio
        self.use_im_start_end = use_im_start_end
        self.max_sequence_length = max_sequence_length
        super().__init__(image_processor, tokenizer)

    @classmethod
    def from_config(cls, config: LitaConfig, image_processor: Any, tokenizer: Any) -> Self:
        """The processor that fits a model's configuration."""
        return cls(
            image_processor,
            tokenizer,
            num_frames=config.num_frames,
            num_visual_tokens=config.num_visual_tokens,
            video_token_id=config.video_token_id,
            template_name=config.chat_template,
            time_codec_name=config.time_codec,
            num_time_tokens=config.num_time_tokens,
            image_aspect_ratio=config.image_aspect_ratio,
            use_im_start_end=config.use_im_start_end,
            max_sequence_length=config.max_sequence_length,
        )

    @property
    def time_codec(self) -> TimeCodec:
        """How answers write times."""
        return make_time_codec(self.time_codec_name, self.num_time_tokens)

    @property
    def template(self) -> ChatTemplate:
        """The chat template that prompts are written with unless another is asked for."""
        return get_template(self.template_name)

    @property
    def frame_transform(self) -> FrameTransform:
        """Preprocessing of one frame, for :func:`litakit.video.decode_frames`."""
        settings = self.image_processor
        return FrameTransform(
            size=_frame_size(settings),
            mean=_three(settings.image_mean),
            std=_three(settings.image_std),
            resample="bilinear" if settings.resample == Image.Resampling.BILINEAR else "bicubic",
            aspect=self.image_aspect_ratio,
        )

    def encode_prompt(
        self,
        messages: Sequence[Message],
        template: ChatTemplate | str | None = None,
        too_long: TooLong = "refuse",
    ) -> list[int]:
        """Ids of a conversation, the places of its video filled with ``video_token_id``.

        Args:
            messages: user and assistant in turn; where the user has the last word, the prompt waits for the
                answer.
            template: another chat template, or its name.
            too_long: what happens above ``max_sequence_length``: "refuse", "cut" the end, with a warning, or
                "keep" it all.

        Raises:
            ValueError: messages that no prompt can be made of, or a prompt that is too long.
        """
        return self.encode_sample(messages, template, too_long)[0]

    def encode_sample(
        self,
        messages: Sequence[Message],
        template: ChatTemplate | str | None = None,
        too_long: TooLong = "refuse",
    ) -> tuple[list[int], list[int]]:
        """Ids of a conversation and its labels: the assistant's words and end tokens, -100 elsewhere.

        Args and Raises as :meth:`encode_prompt`.
        """
        ids: list[int] = []
        labels: list[int] = []
        for text, answers in self._stretches(messages, self._template(template)):
            if text is None:
                ids += [self.video_token_id] * self.num_visual_tokens
                labels += [IGNORED] * self.num_visual_tokens
                continue
            encoded = self.tokenizer(text, add_special_tokens=not ids, return_offsets_mapping=True)
            ids += encoded["input_ids"]
            for token, (start, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
                is_answer = any(
                    start < answer_end and answer_start < end for answer_start, answer_end in answers
                )
                labels.append(token if is_answer else IGNORED)
        kept = self._length_kept(ids, too_long)
        return ids[:kept], labels[:kept]

    def _stretches(
        self, messages: Sequence[Message], template: ChatTemplate
    ) -> list[tuple[str | None, list[tuple[int, int]]]]:
        """Words between videos, with the character ranges of answers; None stands for a video."""
        stretches: list[tuple[str | None, list[tuple[int, int]]]] = []
        text, answers = "", list[tuple[int, int]]()
        before, after = (IM_START, IM_END) if self.use_im_start_end else ("", "")
        for content, is_answer in render_turns(messages, template):
            if content is VIDEO:
                stretches += [(text + before, answers), (None, [])]
                text, answers = after, []
                continue
            assert isinstance(content, str)
            if is_answer:
                answers.append((len(text), len(text) + len(content)))
            text += content
        return [*stretches, (text, answers)]

    def _template(self, template: ChatTemplate | str | None) -> ChatTemplate:
        if template is None:
            return self.template
        return get_template(template) if isinstance(template, str) else template

    def _length_kept(self, ids: list[int], too_long: TooLong) -> int:
        if len(ids) <= self.max_sequence_length or too_long == "keep":
            return len(ids)
        message = f"the conversation takes {len(ids)} tokens, the model reads {self.max_sequence_length}"
        if too_long == "refuse":
            raise ValueError(f"{message}: shorten it, or pass too_long='cut' to lose the end")
        if self.video_token_id in ids[self.max_sequence_length :]:
            raise ValueError(
                f"{message}, and cutting it would cut the video: shorten what comes before the video"
            )
        logger.warning("%s: its last %d tokens were cut", message, len(ids) - self.max_sequence_length)
        return self.max_sequence_length

    def __call__(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        videos: Video | Sequence[Video | None] | None = None,
        return_tensors: Literal["pt"] = "pt",
        padding_side: Literal["left", "right"] = "left",
        template: ChatTemplate | str | None = None,
        too_long: TooLong = "refuse",
    ) -> BatchFeature:
        """Tensors of one conversation or of a batch.

        Args:
            messages: a conversation, or several.
            videos: the videos, one for each conversation that has one, in order (None for those that have
                none may be left out or in): frames as decoded, (T, H, W, 3) uint8, or pixels, (T, 3, H, W)
                float. Without them the batch has no ``pixel_values_videos``: pass ``video_features`` to the
                model.
            return_tensors: "pt".
            padding_side: "left" to generate, "right" to train.
            template: another chat template, or its name.
            too_long: see :meth:`encode_prompt`.

        Returns:
            ``input_ids`` and ``attention_mask``, (B, L), and ``pixel_values_videos``, (V, T, 3, H, W).

        Raises:
            ValueError: as :meth:`encode_prompt`; as many videos as do not fit the messages.
        """
        if return_tensors != "pt":
            raise ValueError(f"return_tensors must be 'pt', got {return_tensors!r}")
        first = messages[0] if messages else None
        batch: Any = [messages] if first is None or isinstance(first, Message) else messages
        rows = [self.encode_prompt(row, template, too_long) for row in batch]
        data = self.pad(rows, padding_side=padding_side)
        data.pop("labels")
        if videos is not None:
            several: Sequence[Video | None] = (
                videos if isinstance(videos, list | tuple) else [cast(Any, videos)]
            )
            given = [video for video in several if video is not None]
            wanted = sum(message.video for row in batch for message in row)
            if len(given) != wanted:
                raise ValueError(f"the messages speak of {wanted} videos, got {len(given)}")
            if given:
                data["pixel_values_videos"] = torch.cat([self.pixel_values(video) for video in given])
        return BatchFeature(data)

    def pad(
        self,
        rows: Sequence[Sequence[int]],
        labels: Sequence[Sequence[int]] | None = None,
        padding_side: Literal["left", "right"] = "right",
    ) -> dict[str, Tensor]:
        """Rows of ids (and labels) of different lengths as tensors.

        Returns:
            ``input_ids``, ``attention_mask`` and ``labels``, each (B, L); without ``labels`` all of these
            are -100.
        """
        length = max(len(row) for row in rows)
        pad_id = self.tokenizer.pad_token_id
        columns = {"input_ids": (rows, pad_id), "attention_mask": ([[1] * len(row) for row in rows], 0)}
        columns["labels"] = (
            labels if labels is not None else [[IGNORED] * len(row) for row in rows],
            IGNORED,
        )
        padded: dict[str, Tensor] = {}
        for name, (values, filler) in columns.items():
            out = torch.full((len(rows), length), filler, dtype=torch.long)
            for index, row in enumerate(values):
                place = slice(length - len(row), length) if padding_side == "left" else slice(0, len(row))
                out[index, place] = torch.tensor(row, dtype=torch.long)
            padded[name] = out
        return padded

    def pixel_values(self, video: Video) -> Tensor:
        """Normalised pixels of one video, (1, T, 3, H, W) float32.

        Args:
            video: frames as decoded, (T, H, W, 3) uint8 of any size, or pixels, (T, 3, H, W) float, passed
                through; arrays or tensors.

        Raises:
            ValueError: another shape or type, or another number of frames than ``num_frames``.
        """
        frames = torch.as_tensor(video.pixels if isinstance(video, FrameBatch) else video)
        ready = frames.is_floating_point()
        channels_axis = 1 if ready else 3
        fits = frames.ndim == 4 and len(frames) == self.num_frames and frames.shape[channels_axis] == 3
        if not fits or not (ready or frames.dtype == torch.uint8):
            raise ValueError(
                f"expected {self.num_frames} frames of a video, as (frames, height, width, 3) uint8 or "
                f"(frames, 3, height, width) float, got {frames.dtype} of the shape {tuple(frames.shape)}"
            )
        if ready:
            return frames[None].float()
        array = frames.numpy()
        transform = self.frame_transform
        if array.shape[1:] != (transform.size, transform.size, 3):
            array = np.stack([transform.apply(frame) for frame in array])
        return torch.from_numpy(transform.normalize(array))[None]

    def decode_answer(self, ids: Sequence[int] | Tensor) -> str:
        """Words of generated ids, time tokens among them, the last one too; end and padding left out.

        As the published evaluator reads them, see :class:`~litakit.modeling.tokenizer.LitaTokenizer`.
        """
        return str(self.tokenizer.decode_answer([int(token) for token in ids]))


def _frame_size(image_processor: Any) -> int:
    """Side of the square that a frame is brought to."""
    sides = dict(image_processor.size or {}) | dict(image_processor.crop_size or {})
    size = sides.get("height", sides.get("shortest_edge"))
    if size is None or sides.get("width", size) != size:
        raise ValueError(f"expected an image processor with a square size, got {sides}")
    return int(size)


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
