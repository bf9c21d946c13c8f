"""Many questions about one video in one sequence: they share the visual tokens and do not see each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from litakit.data import synthetic
from litakit.messages import Message
from litakit.modeling import LitaProcessor
from litakit.modeling.losses import IGNORED


@dataclass(frozen=True)
class Packed:
    """Sequences of a prefix (system prompt and visual places) and several branches (question and answer).

    `input_ids`, `labels`, `position_ids` (B, L): in each branch positions go on from the prefix.
    `mask` (B, 1, L, L) is added to attention scores: 0 where a position (row) may look, which is the prefix
    and its own branch up to itself, and the least number elsewhere.
    """

    input_ids: Tensor
    labels: Tensor
    position_ids: Tensor
    mask: Tensor


def branch_of(
    processor: LitaProcessor, turns: Sequence[tuple[str, str]]
) -> tuple[list[int], list[int], list[int]]:
    """A conversation as prefix ids, branch ids and the branch's labels."""
    messages: list[Message] = []
    for number, (question, answer) in enumerate(turns):
        messages.append(Message("user", question, video=number == 0))
        messages.append(Message("assistant", answer))
    ids, labels = processor.encode_sample(messages)
    cut = len(ids) - ids[::-1].index(processor.video_token_id)
    return ids[:cut], ids[cut:], labels[cut:]


def pack(rows: Sequence[Sequence[tuple[list[int], list[int], list[int]]]], pad_id: int) -> Packed:
    """Pack rows of branches (as `branch_of` makes them) into one batch, padded on the right."""
    flat = [_pack_row(row) for row in rows]
    length = max(len(ids) for ids, _, _, _ in flat)
    input_ids = torch.full((len(rows), length), pad_id)
    labels = torch.full((len(rows), length), IGNORED)
    positions = torch.zeros(len(rows), length, dtype=torch.long)
    owner = torch.full((len(rows), length), -1)
    for number, (ids, marks, places, owners) in enumerate(flat):
        input_ids[number, : len(ids)] = torch.tensor(ids)
        labels[number, : len(ids)] = torch.tensor(marks)
        positions[number, : len(ids)] = torch.tensor(places)
        owner[number, : len(ids)] = torch.tensor(owners)
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    seen, looking = owner[:, None, :], owner[:, :, None]
    allowed = causal & ((seen == 0) | (seen == looking)) & (seen >= 0)
    allowed |= torch.eye(length, dtype=torch.bool)  # padding looks at itself, so that no row is empty
    mask = torch.zeros(len(rows), 1, length, length)
    mask.masked_fill_(~allowed[:, None], torch.finfo(mask.dtype).min)
    return Packed(input_ids, labels, positions, mask)


def _pack_row(
    branches: Sequence[tuple[list[int], list[int], list[int]]],
) -> tuple[list[int], list[int], list[int], list[int]]:
    prefix = branches[0][0]
    ids, labels = list(prefix), [IGNORED] * len(prefix)
    positions, owners = list(range(len(prefix))), [0] * len(prefix)
    for number, (_, branch, marks) in enumerate(branches, 1):
        ids += branch
        # the first id of a branch is predicted from the prefix, which all branches share: never a label
        labels += [IGNORED, *marks[1:]]
        positions += range(len(prefix), len(prefix) + len(branch))
        owners += [number] * len(branch)
    return ids, labels, positions, owners


def conversations(
    scene: synthetic.Scene, processor: LitaProcessor, count: int, rng: np.random.Generator
) -> list[list[tuple[str, str]]]:
    """Conversations about a scene's video: localization and reasoning mostly, now and then an account."""
    asked = synthetic.questions(scene, variant=int(rng.integers(1, 1 << 30)))
    localize = _some([qa for qa in asked if qa.task == "event_loc"], count // 2, rng)
    reason = _some([qa for qa in asked if qa.task == "rtl"], count - len(localize), rng)
    drawn = [[_turn(qa, scene, processor)] for qa in localize + reason]
    about = _some([qa for qa in asked if qa.task == "vidqa"], 3, rng)
    if about:
        drawn.append([_turn(qa, scene, processor) for qa in about])
    if rng.random() < 0.25:
        drawn += [[_turn(qa, scene, processor)] for qa in asked if qa.task == "dvc"]
    return drawn


def still_conversations(scene: synthetic.Scene, processor: LitaProcessor) -> list[list[tuple[str, str]]]:
    """Conversations about a scene's still frame, as one of several turns."""
    about = [qa for qa in synthetic.questions(scene) if qa.task == "imgqa"]
    return [[_turn(qa, scene, processor)] for qa in about]


def _turn(qa: synthetic.QA, scene: synthetic.Scene, processor: LitaProcessor) -> tuple[str, str]:
    return qa.question, processor.time_codec.render(qa.answer, scene.duration)


def _some(items: list[synthetic.QA], count: int, rng: np.random.Generator) -> list[synthetic.QA]:
    return [items[int(index)] for index in rng.permutation(len(items))[:count]]
