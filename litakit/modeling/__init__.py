"""Models: configuration, model, processor, tokenizer, checkpoints (floor 2).

Importing this package makes the Auto classes of transformers know litakit's folders: ``AutoConfig``,
``AutoTokenizer``, ``AutoProcessor``, and for the whole model ``AutoModel``, ``AutoModelForImageTextToText``.
"""

from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from litakit.modeling.attention import choose_attention
from litakit.modeling.configuration import LitaConfig
from litakit.modeling.model import LitaForConditionalGeneration
from litakit.modeling.processor import LitaProcessor
from litakit.modeling.tokenizer import LitaTokenizer, build_tokenizer
from litakit.modeling.visual_tokens import LAYOUTS, Layout, count_visual_tokens, pool_visual_tokens

AutoConfig.register(LitaConfig.model_type, LitaConfig, exist_ok=True)
AutoModel.register(LitaConfig, LitaForConditionalGeneration, exist_ok=True)
AutoModelForImageTextToText.register(LitaConfig, LitaForConditionalGeneration, exist_ok=True)
AutoTokenizer.register(LitaConfig, fast_tokenizer_class=LitaTokenizer, exist_ok=True)
AutoProcessor.register(LitaConfig, LitaProcessor, exist_ok=True)

__all__ = [
    "LAYOUTS",
    "Layout",
    "LitaConfig",
    "LitaForConditionalGeneration",
    "LitaProcessor",
    "LitaTokenizer",
    "build_tokenizer",
    "choose_attention",
    "count_visual_tokens",
    "pool_visual_tokens",
]
