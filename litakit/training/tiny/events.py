"""Aids that shorten the language model's training; none of them is part of the model.

The projector starts with what the vision tower was taught to tell of a frame, all of it equally loud. Halfway
up, fast tokens are asked which events go on, begin and end at their frame: what an answer has to look up is
then there to be looked up. The places where times are asked for are asked likewise. And in one layer above,
where a time is asked for, attention is to look at the frame of that time.
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
BACKWARDS = {"appears": "leaves", "leaves": "appears", "grows": "shrinks", "shrinks": "grows"}
"""What kinds of events are when time runs backwards; the others stay what they are."""
POSITIVE_WEIGHT = 4.0
PROJECTED_STD = 0.5
SHRINKAGE = 1e-3


def start_projector(
    model: LitaForConditionalGeneration, read: nn.Linear, videos: np.ndarray, seed: int
) -> None:
    """Start the projector so that fast tokens say, each as loud as the others, what can be read of a frame.

    Args:
        model: its projector is set in place.
        read: the linear reader of `POOLED_SCALE` times the mean over patches, as the vision tower was trained
            with it.
        videos: features, (scenes, N, width), fast tokens first.
        seed: of the random rotation into the language model's width.
    """
    fast = torch.from_numpy(videos[:, : model.config.num_frames].reshape(-1, videos.shape[-1])).double()
    values = fast @ read.weight.detach().double().T
    mean, std = values.mean(0), values.std(0) + SHRINKAGE
    weight = model.projector.get_parameter("weight")
    generator = torch.Generator().manual_seed(seed)
    turn = torch.randn(len(weight), len(mean), generator=generator).double() / len(mean) ** 0.5
    turn = PROJECTED_STD * turn / std
    with torch.no_grad():
        weight.copy_(turn @ read.weight.double())
        model.projector.get_parameter("bias").copy_(-turn @ mean)


def event_targets(scene: synthetic.Scene, num_frames: int, backwards: bool = False) -> np.ndarray:
    """What goes on, has just begun and just ended at each sampled frame, by colour and kind of event.

    With `backwards` of the frames in reversed order, where what fades in becomes nothing that has a name.

    Returns:
        float32 of zeros and ones, (num_frames, 3 * colours * kinds).
    """
    times = sampled_seconds(scene, num_frames)
    soon = 1.5 * scene.duration / num_frames  # frames see what came before them, not what follows
    targets = np.zeros((num_frames, 3, len(COLOURS), len(KINDS)), np.float32)
    for event in scene.events:
        start, end, name = event.span.start, event.span.end, event.kind
        if backwards:
            if event.style == "fade":
                continue
            start, end, name = times[-1] - end, times[-1] - start, BACKWARDS.get(name, name)
        kind = KINDS.index(name)
        for thing in event.things:
            colour = COLOURS.index(scene.things[thing].colour)
            targets[(times >= start) & (times <= end), 0, colour, kind] = 1
            for which, edge in ((1, start), (2, end)):
                targets[(times >= edge) & (times <= edge + soon), which, colour, kind] = 1
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
        read = self.read(states * scale).float()
        return F.binary_cross_entropy_with_logits(read, targets, pos_weight=weight) * NUM_TARGETS
