"""Options of generation, each of which acts."""

import math
from dataclasses import dataclass

MIN_TEMPERATURE = 1e-6


@dataclass(frozen=True)
class GenerationOptions:
    """How an answer is generated. The default is greedy, as in the published evaluation.

    Attributes:
        temperature: 0 takes the most probable token; above 0 tokens are drawn (the published chat uses 0.2).
            Between 0 and 1e-6 the scores would overflow, so that is refused.
        top_p: draw from the most probable tokens that together have this probability; acts above temperature
            0.
        num_beams: beams of a beam search; 1 is none.
        max_new_tokens: longest answer, in tokens.
        seed: of the draws, in [0, 2**64); with None they go on from torch's random state.

    Raises:
        ValueError: a value outside its range, or `top_p` without a temperature, where it would not act.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    num_beams: int = 1
    max_new_tokens: int = 1024
    seed: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"temperature must be 0 or more, got {self.temperature}")
        if 0 < self.temperature < MIN_TEMPERATURE:
            raise ValueError(
                f"temperature must be 0 (greedy) or at least {MIN_TEMPERATURE}, got {self.temperature}"
            )
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")
        if self.top_p < 1 and self.temperature == 0:
            raise ValueError(f"top_p {self.top_p} acts only when tokens are drawn: set a temperature above 0")
        for name in ("num_beams", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.seed is not None and not 0 <= self.seed < 2**64:
            raise ValueError(f"seed must be in [0, 2**64), got {self.seed}")
