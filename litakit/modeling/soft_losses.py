"""Soft targets for time tokens: a time that is missed by one step is less wrong than one missed by fifty."""

from collections.abc import Sequence

import torch
from torch import Tensor

from litakit.modeling.losses import IGNORED


def soft_time_loss(
    logits: Tensor,
    labels: Tensor,
    time_token_ids: Sequence[int],
    width_steps: float,
    num_items: int | Tensor | None = None,
) -> Tensor:
    """Cross-entropy of each next token, in float32, a time token's against a Gaussian over the time tokens.

    Args:
        logits: (B, L, V).
        labels: (B, L), token ids, :data:`IGNORED` where there is nothing to learn.
        time_token_ids: ids of the time tokens, in the order of time.
        width_steps: standard deviation of the Gaussian around the true time, in time tokens.
        num_items: as in :func:`~.losses.next_token_loss`.

    Returns:
        A scalar; without time tokens among the labels that of `next_token_loss`.

    Raises:
        ValueError: a width that is not positive.

    >>> logits = torch.zeros(1, 2, 4)  # every one of 4 tokens equally likely: log(4) = 1.386
    >>> round(soft_time_loss(logits, torch.tensor([[-100, 2]]), [1, 2, 3], width_steps=1.0).item(), 3)
    1.386
    """
    if not width_steps > 0:
        raise ValueError(f"width_steps must be positive, got {width_steps}")
    targets = labels[:, 1:].to(logits.device)
    kept = targets != IGNORED
    targets = targets[kept]  # (N,)
    log_p = logits[:, :-1][kept].float().log_softmax(dim=-1)  # (N, V)
    losses = -log_p.gather(1, targets[:, None])[:, 0]
    ids = torch.tensor(list(time_token_ids), device=targets.device, dtype=targets.dtype)
    is_id = targets[:, None] == ids  # (N, T)
    times = is_id.int().argmax(dim=1) if len(ids) else targets
    if len(ids):
        steps = torch.arange(len(ids), device=targets.device)
        distances = (steps - times[:, None]).float() / width_steps
        soft = (-0.5 * distances.square()).softmax(dim=1)  # (N, T)
        losses = torch.where(is_id.any(dim=1), -(soft * log_p[:, ids]).sum(dim=1), losses)
    if num_items is None:
        num_items = max(len(targets), 1)
    return losses.sum() / num_items
