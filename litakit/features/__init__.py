"""Video features: what the language model needs of a video, encoded once and kept on disk (floor 2).

`VideoEncoder` turns a video into `VideoFeatures`; with a `FeatureStore` it never does so twice for the same
content, encoder and sampling. A `FeatureFolder` finds them by a video's path, for training.
Importing this loads no torch.
"""

from litakit.features.encoder import VideoEncoder
from litakit.features.identity import content_digest, encoder_digest
from litakit.features.links import EncoderFacts, FeatureFolder, FeatureLink, SourceStamp, list_encoders
from litakit.features.store import FeatureStore, StoreEntry, VideoFeatures

__all__ = [
    "EncoderFacts",
    "FeatureFolder",
    "FeatureLink",
    "FeatureStore",
    "SourceStamp",
    "StoreEntry",
    "VideoEncoder",
    "VideoFeatures",
    "content_digest",
    "encoder_digest",
    "list_encoders",
]
