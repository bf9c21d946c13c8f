"""Video features: what the language model needs of a video, encoded once and kept on disk (floor 2).

`VideoEncoder` turns a video into `VideoFeatures`; with a `FeatureStore` it never does so twice for the same
content, encoder and sampling. Importing this loads no torch.
"""

from litakit.features.encoder import VideoEncoder
from litakit.features.identity import content_digest, encoder_digest
from litakit.features.store import FeatureStore, StoreEntry, VideoFeatures

__all__ = ["FeatureStore", "StoreEntry", "VideoEncoder", "VideoFeatures", "content_digest", "encoder_digest"]
