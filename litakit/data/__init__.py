"""Data: from raw files to training batches, with nothing lost unseen (floor 3).

`check` what is there, `prepare` samples, draw them from a `Mixture`, encode every video once (`FeatureWork`),
read batches (`SampleReader`). The shape world is in `litakit.data.synthetic`. Importing this loads no torch.
"""

from litakit.data.coverage import CoverageReport, check
from litakit.data.encode import FeatureWork, feature_jobs
from litakit.data.jobs import run_jobs
from litakit.data.manifests import Manifest, load_manifest, shipped_manifests
from litakit.data.mixture import Mixture
from litakit.data.mixture_spec import MixtureSpec, find_parts, load_mixture
from litakit.data.prepare import prepare
from litakit.data.reading import SampleReader
from litakit.data.samples import Sample
from litakit.data.tasks import samples_of

__all__ = [
    "CoverageReport",
    "FeatureWork",
    "Manifest",
    "Mixture",
    "MixtureSpec",
    "Sample",
    "SampleReader",
    "check",
    "feature_jobs",
    "find_parts",
    "load_manifest",
    "load_mixture",
    "prepare",
    "run_jobs",
    "samples_of",
    "shipped_manifests",
]
