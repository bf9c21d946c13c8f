"""Pictures: each takes results, not models, and gives back a matplotlib figure to show or save (floor 5).

Colours are of the Okabe-Ito set, which the colour-blind can tell apart.
"""

from litakit.plots._style import PREDICTED, TRUTH, clock
from litakit.plots.answers import plot_boundaries, plot_spans
from litakit.plots.samples import plot_sample_statistics, plot_samples

__all__ = [
    "PREDICTED",
    "TRUTH",
    "clock",
    "plot_boundaries",
    "plot_sample_statistics",
    "plot_samples",
    "plot_spans",
]
