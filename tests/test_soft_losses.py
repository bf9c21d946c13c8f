"""Soft targets over time tokens, held against the formula and against plain cross-entropy."""

import math

import pytest
import torch

from litakit.modeling.losses import next_token_loss
from litakit.modeling.soft_losses import soft_time_loss

IDS = [5, 6, 7, 8]


def some(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 9, generator=generator, requires_grad=True)
    return logits, torch.tensor([[1, -100, 6, 2], [3, 8, 0, -100]])


def test_the_formula_by_hand():
    logits, labels = some()
    log_p = logits.detach().double().log_softmax(-1)
    weights = {t: [math.exp(-0.5 * ((k - t) / 0.7) ** 2) for k in range(4)] for t in (1, 3)}
    soft = {
        t: -sum(w * p.item() for w, p in zip(ws, log_p[place][IDS], strict=True)) / sum(ws)
        for (t, ws), place in zip(weights.items(), [(0, 1), (1, 0)], strict=True)
    }
    expected = (soft[1] + soft[3] - log_p[0, 2, 2].item() - log_p[1, 1, 0].item()) / 4
    assert soft_time_loss(logits, labels, IDS, 0.7).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("ids", "width"), [(IDS, 1e-3), ([], 1.0), ([4], 1.0)])
def test_a_narrow_gaussian_and_no_times_are_cross_entropy(ids, width):
    logits, labels = some(1)
    assert soft_time_loss(logits, labels, ids, width).item() == pytest.approx(
        next_token_loss(logits, labels).item(), rel=1e-5
    )


def test_nothing_to_learn_and_given_items():
    logits, labels = some(2)
    nothing = soft_time_loss(logits, torch.full_like(labels, -100), IDS, 1.0)
    nothing.backward()
    assert nothing.item() == 0
    half = soft_time_loss(logits, labels, IDS, 1.0, torch.tensor(8))
    assert half.item() == pytest.approx(soft_time_loss(logits, labels, IDS, 1.0).item() / 2)


def test_a_width_of_nothing():
    with pytest.raises(ValueError, match=r"^width_steps must be positive, got 0.0$"):
        soft_time_loss(*some(), IDS, 0.0)
