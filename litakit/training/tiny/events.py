"""Aids that shorten the language model's training; none of them is part of the model.

The projector starts by whitening what the vision tower sees, because the mean of 64 patches says little in a
few loud directions and what happens in many faint ones. And halfway up, fast tokens are asked which events go
on, begin and end at their frame: what an answer has to look up is then there to be looked up. The places
where times are asked for are asked likewise.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from litakit.data import synthetic
from litakit.modeling import LitaForConditionalGeneration
from litakit.time_tokens import TimeCodec
from litakit.training.tiny.rendering import sampled_seconds

COLOURS, KINDS = tuple(synthetic.COLOURS), synthetic.TRAINING_KINDS
NUM_TARGETS = 3 * len(COLOURS) * len(KINDS)
POSITIVE_WEIGHT = 4.0
PROJECTED_STD = 0.3
SHRINKAGE = 1e-3


def whiten_projector(model: LitaForConditionalGeneration, videos: np.ndarray, seed: int) -> None:
    """Start the projector so that all directions of fast-token features are equally loud in the sequence.

    Args:
        model: its projector is set in place.
        videos: features, (scenes, N, width), fast tokens first.
        seed: of the random rotation into the language model's width.
    """
    fast = torch.from_numpy(videos[:, : model.config.num_frames].reshape(-1, videos.shape[-1])).double()
    mean = fast.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov(fast.T))
    whiten = vectors @ torch.diag((values + SHRINKAGE).rsqrt()) @ vectors.T
    generator = torch.Generator().manual_seed(seed)
    weight = model.projector.get_parameter("weight")
    turn = torch.linalg.qr(torch.randn(max(weight.shape), min(weight.shape), generator=generator).double()).Q
    turn = turn if weight.shape[0] >= weight.shape[1] else turn.T
    matrix = PROJECTED_STD * turn @ whiten
    with torch.no_grad():
        weight.copy_(matrix)
        model.projector.get_parameter("bias").copy_(-matrix @ mean)


def event_targets(scene: synthetic.Scene, num_frames: int) -> np.ndarray:
    """What goes on, begins and ends at each sampled frame, by the colour of the thing and the kind of event.

    Returns:
        float32 of zeros and ones, (num_frames, 3 * colours * kinds).
    """
    times = sampled_seconds(scene, num_frames)
    near = 0.75 * scene.duration / num_frames
    targets = np.zeros((num_frames, 3, len(COLOURS), len(KINDS)), np.float32)
    for event in scene.events:
        kind = KINDS.index(event.kind)
        for thing in event.things:
            colour = COLOURS.index(scene.things[thing].colour)
            targets[(times >= event.span.start) & (times <= event.span.end), 0, colour, kind] = 1
            targets[np.abs(times - event.span.start) <= near, 1, colour, kind] = 1
            targets[np.abs(times - event.span.end) <= near, 2, colour, kind] = 1
    return targets.reshape(num_frames, NUM_TARGETS)


def asked_targets(scene: synthetic.Scene, codec: TimeCodec, answer: str) -> np.ndarray | None:
    """What an answer's two time tokens look for: the begin, then the end, of the event that has these times.

    Args:
        scene: the scene asked about.
        codec: writes times as the answer does.
        answer: as the model is to say it.

    Returns:
        float32, (2, targets), the order that of `event_targets`; None where the answer is more than two
        times, or those of no event.
    """
    for event in scene.events:
        if codec.render_span(event.span, scene.duration) != answer:
            continue
        targets = np.zeros((2, 3, len(COLOURS), len(KINDS)), np.float32)
        for thing in event.things:
            colour = COLOURS.index(scene.things[thing].colour)
            targets[0, 1, colour, KINDS.index(event.kind)] = 1
            targets[1, 2, colour, KINDS.index(event.kind)] = 1
        return targets.reshape(2, NUM_TARGETS)
    return None


class EventHead(nn.Module):
    """A linear reader of events halfway up the language model.

    It reads fast tokens, and the places where times are asked for. One reader for both, so
    that what an answer looks for and what a frame offers lie in one direction.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.Linear(width, NUM_TARGETS)
        nn.init.zeros_(self.read.weight)
        nn.init.constant_(self.read.bias, -4.0)

    def loss(self, states: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy, summed over targets, averaged over frames.

        Args:
            states: hidden states, (..., D).
            targets: as `event_targets` and `asked_targets` make them, (..., targets).
        """
        scale = states.detach().square().mean(-1, keepdim=True).add(1e-6).rsqrt()
        weight = torch.full((NUM_TARGETS,), POSITIVE_WEIGHT)
        read = self.read(states * scale)
        return F.binary_cross_entropy_with_logits(read, targets, pos_weight=weight) * NUM_TARGETS
