"""Generation: a run of `generate` that keeps the time tokens' probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.generation.streamers import BaseStreamer

from litakit.assistant.options import GenerationOptions

if TYPE_CHECKING:
    from litakit.assistant.prefix import PrefixCache
    from litakit.modeling import LitaForConditionalGeneration


@dataclass(frozen=True, eq=False)
class Generated:
    """What a run made.

    Attributes:
        ids: generated, the end token included.
        time_probabilities: for each id that is a time token its position in `ids`, its index on the grid, and
            the softmax over all N time tokens at that step, (N,) on the CPU.
        truncated: whether the limit of tokens ended the run, and not an end token.
        stopped: whether the caller ended it.
    """

    ids: tuple[int, ...]
    time_probabilities: tuple[tuple[int, int, Tensor], ...]
    truncated: bool
    stopped: bool


def generate(
    model: LitaForConditionalGeneration,
    prefix: PrefixCache,
    ids: list[int],
    video_features: Tensor,
    options: GenerationOptions,
    limit: int,
    eos_token_ids: tuple[int, ...],
    pad_token_id: int,
    on_token: Callable[[int], None] | None = None,
    stop: Event | None = None,
) -> Generated:
    """Generate the continuation of a prompt, on top of the part of it that is cached.

    Args:
        model: on whose device everything runs.
        prefix: keys and values of earlier prompts; afterwards those of this prompt (and of the answer).
        ids: the whole prompt.
        video_features: (1, N, width), used only where the cache does not hold the video yet.
        options: how to choose tokens.
        limit: tokens at most.
        eos_token_ids: tokens that end an answer.
        pad_token_id: fills beams that have ended.
        on_token: called with every token as it is generated; not with several beams.
        stop: ends the run at the next token once it is set.
    """
    time_ids = torch.tensor(model.config.time_token_ids or [], dtype=torch.long, device=model.device)
    recorder = _TimeRecorder(time_ids)
    beams = options.num_beams
    prompt = torch.tensor([ids], device=model.device)  # (1, L)
    with _seeded(options), prefix.borrow(ids, video_features, beams) as cache:
        outputs = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            video_features=video_features,
            past_key_values=cache,
            generation_config=_generation_config(options, limit, eos_token_ids, pad_token_id),
            logits_processor=LogitsProcessorList([recorder]),
            stopping_criteria=StoppingCriteriaList([_Stopped(stop)]) if stop is not None else None,
            streamer=_TokenStreamer(on_token) if on_token is not None and beams == 1 else None,
        )
        new = tuple(int(token) for token in outputs.sequences[0, len(ids) :])
        if beams == 1:
            prefix.commit([*ids, *new])
    rows = outputs.beam_indices[0].tolist() if beams > 1 else [0] * len(new)
    index_of = {token: index for index, token in enumerate(model.config.time_token_ids or [])}
    times = tuple(
        (step, index_of[token], torch.softmax(recorder.steps[step][row].float(), dim=-1).cpu())
        for step, (token, row) in enumerate(zip(new, rows, strict=False))
        if token in index_of
    )
    ended = any(token in eos_token_ids for token in new[-1:])
    stopped = stop is not None and stop.is_set() and not ended
    return Generated(new, times, truncated=not ended and not stopped and len(new) >= limit, stopped=stopped)


class _TimeRecorder(LogitsProcessor):
    """Keeps the scores of the time tokens at each step, before temperature and top_p touch them."""

    def __init__(self, time_ids: Tensor) -> None:
        self.time_ids = time_ids
        self.steps: list[Tensor] = []  # each (B, N)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.steps.append(scores[:, self.time_ids].clone())
        return scores


class _Stopped(StoppingCriteria):
    """Ends generation when the event is set."""

    def __init__(self, event: Event) -> None:
        self.event = event

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        return torch.full((len(input_ids),), self.event.is_set(), dtype=torch.bool, device=input_ids.device)


class _TokenStreamer(BaseStreamer):
    """Hands tokens on one by one; the prompt, which comes first, is left out."""

    def __init__(self, on_token: Callable[[int], None]) -> None:
        self.on_token = on_token
        self.seen_prompt = False

    def put(self, value: Tensor) -> None:
        if self.seen_prompt:
            for token in value.flatten().tolist():
                self.on_token(token)
        self.seen_prompt = True

    def end(self) -> None:
        self.seen_prompt = False


def _generation_config(
    options: GenerationOptions, limit: int, eos_token_ids: tuple[int, ...], pad_token_id: int
) -> GenerationConfig:
    """Every choice said out loud, for a checkpoint's own generation config fills what is left open."""
    drawn = (
        {"temperature": options.temperature, "top_p": options.top_p, "top_k": 0}
        if options.temperature
        else {}
    )
    return GenerationConfig(
        do_sample=options.temperature > 0,
        num_beams=options.num_beams,
        max_new_tokens=limit,
        repetition_penalty=1.0,
        length_penalty=1.0,
        use_cache=True,
        eos_token_id=list(eos_token_ids),
        pad_token_id=pad_token_id,
        return_dict_in_generate=True,
        **drawn,
    )


@contextmanager
def _seeded(options: GenerationOptions) -> Iterator[None]:
    """Draw from the seed where there is one, and leave torch's random state as it was."""
    if options.seed is None or options.temperature == 0:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        yield
