"""VideoEncoder: from a video to its features, by way of the store."""

from __future__ import annotations

import dataclasses
import logging
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from litakit.features.identity import content_digest, encoder_digest, key_digest
from litakit.features.store import SCHEMA_VERSION, FeatureStore, VideoFeatures
from litakit.video import VideoInfo, decode_frames

if TYPE_CHECKING:
    import os

    from litakit.modeling import LitaForConditionalGeneration, LitaProcessor

logger = logging.getLogger(__name__)


class VideoEncoder:
    """The eyes of a model: decodes a video, runs the vision tower and pools, once for each content.

    Make a new one after changing the vision tower's weights: their digest is taken once.

    Args:
        model: whose vision tower looks.
        processor: how frames become pixels.
        store: where features are kept between runs; None keeps nothing.
    """

    def __init__(
        self, model: LitaForConditionalGeneration, processor: LitaProcessor, store: FeatureStore | None = None
    ) -> None:
        self.model = model
        self.processor = processor
        self.store = store

    @cached_property
    def identity(self) -> str:
        """Digest of the encoder: weights, configuration, number of frames and preprocessing."""
        return key_digest(
            {
                "encoder": encoder_digest(self.model),
                "num_frames": self.model.config.num_frames,
                "transform": dataclasses.asdict(self.processor.frame_transform),
            }
        )

    def key(
        self,
        source: str | os.PathLike[str],
        *,
        start: float | None = None,
        end: float | None = None,
        fps: float | None = None,
        duration: float | None = None,
    ) -> str:
        """Return the key of a video's features in the store; arguments as in `encode`.

        It covers the video's content, the encoder, the part, and the fields that a stored record has.

        Raises:
            OSError: the video cannot be read.
            ValueError: a second that is no finite number.
        """
        return key_digest(
            {
                "schema_version": SCHEMA_VERSION,
                "info_fields": [field.name for field in dataclasses.fields(VideoInfo)],
                "content": content_digest(source),
                "encoder": self.identity,
                "part": [None if second is None else float(second) for second in (start, end)],
                "timing": [None if value is None else float(value) for value in (fps, duration)],
            }
        )

    def encode(
        self,
        source: str | os.PathLike[str],
        *,
        start: float | None = None,
        end: float | None = None,
        fps: float | None = None,
        duration: float | None = None,
    ) -> VideoFeatures:
        """Return the features of a video: from the store, or decoded and encoded now, and then kept there.

        A store that cannot be written (a full disk) is said in the log; the features are returned all the
        same.

        Args:
            source: a video file, a folder of frames, or an image.
            start: first second of the part that is wanted; None for the beginning.
            end: last second of the part; None for the end.
            fps: frames a second, for a folder of frames.
            duration: seconds, for a folder of frames.

        Raises:
            VideoError: the video cannot be read.
        """
        key = self._key_or_none(source, start, end, fps, duration)
        if key is not None and self.store is not None:
            kept = self.store.get(key)
            if kept is not None:
                return dataclasses.replace(kept, info=dataclasses.replace(kept.info, path=str(source)))
        video = self._encode_now(source, start, end, fps, duration)
        if key is not None and self.store is not None:
            try:
                self.store.put(key, video)
            except OSError as error:
                logger.warning(
                    "the features of %s could not be kept in %s (%s): the next run encodes it again",
                    source,
                    self.store.folder,
                    error,
                )
        return video

    def _key_or_none(
        self,
        source: str | os.PathLike[str],
        start: float | None,
        end: float | None,
        fps: float | None,
        duration: float | None,
    ) -> str | None:
        """Key of what can be read; what cannot is left to the decoder, whose errors say more."""
        if self.store is None or not Path(source).exists():
            return None
        try:
            return self.key(source, start=start, end=end, fps=fps, duration=duration)
        except (OSError, ValueError):
            return None

    def _encode_now(
        self,
        source: str | os.PathLike[str],
        start: float | None,
        end: float | None,
        fps: float | None,
        duration: float | None,
    ) -> VideoFeatures:
        import torch

        frames = decode_frames(
            source,
            self.model.config.num_frames,
            start=start,
            end=end,
            fps=fps,
            duration=duration,
            transform=self.processor.frame_transform,
        )
        with torch.no_grad():
            pixels = self.processor.pixel_values(frames)
            features = self.model.get_video_features(pixels)[0]
        return VideoFeatures(
            features=features.cpu(),
            info=frames.info,
            duration=frames.duration,
            start=frames.start,
            pts_seconds=frames.pts_seconds,
            frame_indices=frames.frame_indices,
            backend=frames.backend,
            sampling=frames.sampling,
            notes=frames.notes,
        )
