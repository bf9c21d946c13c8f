"""Training losses on logits."""

import torch
from torch import Tensor

IGNORED = -100
"""Label of a position that takes no part in the loss."""


def next_token_loss(logits: Tensor, labels: Tensor, num_items: int | Tensor | None = None) -> Tensor:
    """Cross-entropy of each next token, in float32: the logits at position i are held against label i + 1.

    Args:
        logits: (B, L, V).
        labels: (B, L), token ids, :data:`IGNORED` where there is nothing to learn.
        num_items: what the summed loss is divided by (with gradient accumulation: supervised tokens of all
            its batches); by default the supervised tokens at hand. With none at hand the loss is 0, not NaN.

    Returns:
        A scalar.

    Raises:
        ValueError: logits and labels of different batch or length.

    >>> logits = torch.zeros(1, 3, 4)  # every one of 4 tokens equally likely: log(4) = 1.386
    >>> round(next_token_loss(logits, torch.tensor([[-100, 2, 1]])).item(), 3)
    1.386
    """
    if logits.shape[:2] != labels.shape:
        raise ValueError(
            f"labels must have the logits' batch and length {tuple(logits.shape[:2])}, "
            f"got {tuple(labels.shape)}"
        )
    targets = labels[:, 1:].to(logits.device).flatten()
    predicted = logits[:, :-1].flatten(0, 1).float()
    total = torch.nn.functional.cross_entropy(predicted, targets, ignore_index=IGNORED, reduction="sum")
    if num_items is None:
        num_items = (targets != IGNORED).sum().clamp(min=1)
    if isinstance(num_items, Tensor):
        num_items = num_items.to(total.device)
    return total / num_items
