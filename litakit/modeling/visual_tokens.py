"""Visual tokens: how the patch features of T frames become the few tokens that the language model reads.

Pure functions. The layouts are those of the published LITA (SlowFast visual tokens, section 3.2 of the
paper): "fast" tokens are one per frame, "slow" tokens are a few frames in finer spatial detail. They are
means over axes that a linear layer does not touch, so pooling first and projecting afterwards gives the same
tokens.
"""

import math
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

Layout = Literal["temporal", "spatial", "temporal_spatial", "spatial_pool", "temporal_spatial_pool"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)


def slow_frame_indices(num_frames: int, slow_pool: int = 2) -> list[int]:
    """Frames that the slow tokens show: ``slow_pool ** 2`` of them, evenly spread, first and last included.

    Args:
        num_frames: frames at hand, at least 1.
        slow_pool: side p of the pooling window, at least 1; p * p frames are taken.

    Returns:
        Indices in [0, num_frames), in order; they repeat where there are fewer than p * p frames.

    Raises:
        ValueError: a count below 1.

    >>> slow_frame_indices(100)
    [0, 33, 66, 99]
    >>> slow_frame_indices(3)
    [0, 1, 1, 2]
    """
    _check_counts(num_frames=num_frames, slow_pool=slow_pool)
    return [int(index) for index in np.round(np.linspace(0, num_frames - 1, slow_pool**2))]


def count_visual_tokens(
    layout: Layout, num_frames: int, grid: tuple[int, int], slow_pool: int = 2, num_cls_tokens: int = 0
) -> int:
    """Number of visual tokens that :func:`pool_visual_tokens` makes.

    Args:
        layout: one of :data:`LAYOUTS`.
        num_frames: frames of the video, T.
        grid: patches of a frame, (rows, columns).
        slow_pool: side p of the slow tokens' pooling window.
        num_cls_tokens: features of a frame beside its patches (a kept CLS token: 1).

    Raises:
        ValueError: an unknown layout, or a count below 1.

    >>> count_visual_tokens("temporal_spatial_pool", 100, (16, 16))
    356
    """
    _check_layout(layout)
    _check_counts(num_frames=num_frames, slow_pool=slow_pool, rows=grid[0], columns=grid[1])
    slow = slow_pool**2 * math.ceil(grid[0] / slow_pool) * math.ceil(grid[1] / slow_pool)
    spatial = grid[0] * grid[1] + num_cls_tokens
    counts = {
        "temporal": num_frames,
        "spatial": spatial,
        "temporal_spatial": num_frames + spatial,
        "spatial_pool": slow,
        "temporal_spatial_pool": num_frames + slow,
    }
    return counts[layout]


def pool_visual_tokens(
    x: Tensor, layout: Layout, slow_pool: int = 2, grid: tuple[int, int] | None = None
) -> Tensor:
    """Pool patch features into visual tokens.

    Args:
        x: features, (B, T, S, D): T frames of S features each, patches row by row; features beyond the grid
            (a kept CLS token) come first in S.
        layout: one of :data:`LAYOUTS`. "temporal" is the mean of each frame (T tokens), "spatial" the mean
            over time of each position (S tokens), "spatial_pool" the slow tokens: p * p frames, each
            mean-pooled p x p, frame by frame and then row by row. The two names joined stand for fast tokens
            and then the other.
        slow_pool: p. Where p does not divide the grid, the last cells are means of the patches that are left.
        grid: patches of a frame, (rows, columns); without it the grid is square, with at most one CLS token.

    Returns:
        Tokens, (B, N, D), N as :func:`count_visual_tokens` says. The slow tokens leave CLS tokens out.

    Raises:
        ValueError: an unknown layout, a tensor that is not 4-dimensional, or S that does not fit the grid.

    >>> x = torch.arange(4.0).reshape(1, 1, 4, 1)  # one frame, a 2 x 2 grid
    >>> pool_visual_tokens(x, "temporal_spatial_pool", slow_pool=1).flatten().tolist()
    [1.5, 0.0, 1.0, 2.0, 3.0]
    """
    _check_layout(layout)
    if x.ndim != 4:
        raise ValueError(
            f"features must have the shape (batch, frames, patches, width), got {tuple(x.shape)}"
        )
    _check_counts(frames=x.shape[1], patches=x.shape[2], slow_pool=slow_pool)
    if layout == "temporal":
        return x.mean(dim=2)  # (B, T, D)
    if layout == "spatial":
        return x.mean(dim=1)  # (B, S, D)
    if layout == "temporal_spatial":
        return torch.cat([x.mean(dim=2), x.mean(dim=1)], dim=1)  # (B, T + S, D)
    slow = _slow_tokens(x, slow_pool, grid or _square_grid(x.shape[2]))
    if layout == "spatial_pool":
        return slow
    return torch.cat([x.mean(dim=2), slow], dim=1)  # (B, T + slow, D)


def _slow_tokens(x: Tensor, slow_pool: int, grid: tuple[int, int]) -> Tensor:
    batch, num_frames, num_features, width = x.shape
    rows, columns = grid
    if num_features < rows * columns:
        raise ValueError(
            f"a grid of {rows} x {columns} needs {rows * columns} patches a frame, got {num_features}"
        )
    frames = x[
        :, slow_frame_indices(num_frames, slow_pool), num_features - rows * columns :
    ]  # (B, p*p, R*C, D)
    cells = frames.reshape(batch * slow_pool**2, rows, columns, width).permute(0, 3, 1, 2)  # (B*p*p, D, R, C)
    pooled = torch.nn.functional.avg_pool2d(cells, slow_pool, ceil_mode=True, count_include_pad=False)
    return pooled.flatten(2).transpose(1, 2).reshape(batch, -1, width)  # (B, p*p * cells, D)


def _square_grid(num_features: int) -> tuple[int, int]:
    for num_patches in (num_features, num_features - 1):
        side = math.isqrt(num_patches)
        if side * side == num_patches and side > 0:
            return side, side
    raise ValueError(
        f"{num_features} features a frame are no square grid, with or without a CLS token: pass grid="
    )


def _check_layout(layout: str) -> None:
    if layout not in LAYOUTS:
        raise ValueError(f"visual layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
