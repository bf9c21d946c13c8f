"""The places of visual tokens in a sequence of ids: found, counted, checked."""

from typing import Any

import torch
from torch import Tensor


def find_places(
    input_ids: Tensor, video_token_id: int, num_videos: int, num_tokens: int
) -> tuple[Tensor, Tensor]:
    """Match the places in ``input_ids`` to videos.

    Args:
        input_ids: (B, L).
        video_token_id: the id that fills a place.
        num_videos: videos at hand, V.
        num_tokens: visual tokens of each video, N.

    Returns:
        Which ids are places, (B, L) bool, and the indices of the videos that fill them, in reading order.

    Raises:
        ValueError: numbers that do not match.

    >>> ids = torch.tensor([[7, 9, 9, 5], [7, 7, 7, 7]])
    >>> is_place, used = find_places(ids, video_token_id=9, num_videos=1, num_tokens=2)
    >>> is_place.sum().item(), used.tolist()
    (2, [0])
    """
    is_place = input_ids == video_token_id
    per_row = is_place.sum(dim=1).tolist()
    if all(count % num_tokens == 0 for count in per_row):
        per_row = [count // num_tokens for count in per_row]
        if sum(per_row) == num_videos:
            return is_place, torch.arange(num_videos)
        if num_videos == len(per_row) and max(per_row) <= 1:  # one video a row, some rows are text only
            rows = [row for row, count in enumerate(per_row) if count]
            return is_place, torch.tensor(rows, dtype=torch.long)
    raise ValueError(
        f"input_ids hold {int(is_place.sum())} places for visual tokens (id {video_token_id}), but the "
        f"video features are {num_videos * num_tokens} tokens ({num_videos} videos of {num_tokens}): fill "
        f"{num_tokens} places for each video (LitaProcessor does), or pass one video for every row"
    )


def repeat_videos(features: Tensor, input_ids: Tensor | None, video_token_id: int, times: int) -> Tensor:
    """Features for rows of ids that are each repeated `times` times, in the rows' new order.

    Args:
        features: (V, N, D), of one video for every row, or of the videos in reading order.
        input_ids: (B, L), before they are repeated.
        video_token_id: the id that fills a place.
        times: how often each row is repeated.

    Returns:
        (V * times, N, D).

    >>> ids, features = torch.tensor([[9, 9, 5], [9, 7, 7]]), torch.arange(3.0).reshape(3, 1, 1)
    >>> repeat_videos(features, ids, video_token_id=9, times=2).flatten().tolist()
    [0.0, 1.0, 0.0, 1.0, 2.0, 2.0]
    """
    if input_ids is not None:
        per_row = ((input_ids == video_token_id).sum(dim=1) // max(features.shape[1], 1)).tolist()
        if sum(per_row) == len(features):
            return torch.cat([videos.repeat(times, 1, 1) for videos in features.split(per_row)])
    return features.repeat_interleave(times, dim=0)


def check_no_places(input_ids: Tensor, video_token_id: int) -> None:
    """Refuse places without a video.

    Raises:
        ValueError: some ids are places.
    """
    count = int((input_ids == video_token_id).sum())
    if count:
        raise ValueError(
            f"input_ids hold {count} places for visual tokens (id {video_token_id}), but 0 visual tokens "
            "were given: pass pixel_values_videos or video_features"
        )


def count_new_ids(input_ids: Tensor, attention_mask: Tensor | None, past_key_values: Any) -> int:
    """How many of ``input_ids`` are not in the cache yet.

    ``input_ids`` are all ids from the start, unless a longer attention mask says that they are only the new
    ones (the rule of transformers' ``generate``).

    Raises:
        ValueError: nothing is new.
    """
    num_ids, num_cached = input_ids.shape[1], int(past_key_values.get_seq_length())
    if attention_mask is not None and attention_mask.shape[1] != num_ids:
        return num_ids
    if num_cached >= num_ids:
        raise ValueError(
            f"past_key_values hold {num_cached} positions of {num_ids} input_ids, at least one id must "
            "be new: crop the cache, past_key_values.crop(-1)"
        )
    return num_ids - num_cached


def new_ids_need_video(input_ids: Tensor, num_new: int, video_token_id: int) -> bool:
    """Whether the last ``num_new`` ids hold the places of videos.

    Raises:
        ValueError: some places are new and others are cached.
    """
    is_place = input_ids == video_token_id
    new, every = int(is_place[:, -num_new:].sum()), int(is_place.sum())
    if 0 < new < every:
        raise ValueError(
            f"past_key_values end inside the video: {every - new} of {every} places are cached and {new} are "
            "new; keep a cache that ends before the video or after it"
        )
    return new > 0


def position_ids_of_mask(attention_mask: Tensor | None, num_new: int) -> Tensor | None:
    """Positions of the last ``num_new`` ids, counted along the mask: padding on the left moves nothing.

    Args:
        attention_mask: (B, L), 0 at padding; None (or an already expanded mask) leaves positions to the
            model.
        num_new: ids of this step, at the end of the mask.

    Returns:
        (B, num_new), or None.

    Raises:
        ValueError: a mask that is shorter than the ids.

    >>> position_ids_of_mask(torch.tensor([[0, 0, 1, 1, 1]]), 3).tolist()
    [[0, 1, 2]]
    """
    if not isinstance(attention_mask, Tensor) or attention_mask.ndim != 2:
        return None
    if attention_mask.shape[1] < num_new:
        raise ValueError(
            f"attention_mask covers {attention_mask.shape[1]} positions, input_ids are {num_new}"
        )
    positions = (attention_mask.long().cumsum(dim=-1) - 1).clamp(min=0)
    return positions[:, -num_new:]
