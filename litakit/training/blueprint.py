"""Blueprint: a model on paper, for what can be counted without a single weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from litakit.assistant.loading import model_folder
from litakit.modeling import published
from litakit.training.config import TrainConfig

if TYPE_CHECKING:
    from torch import nn

    from litakit.modeling import LitaConfig

LLAMA_7B = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
}
LLAMA_13B = {
    "hidden_size": 5120,
    "intermediate_size": 13824,
    "num_hidden_layers": 40,
    "num_attention_heads": 40,
}
KNOWN_LLMS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "lmsys/vicuna-7b-v1.3": LLAMA_7B,
        "lmsys/vicuna-13b-v1.3": LLAMA_13B,
        "lmsys/vicuna-7b-v1.5": LLAMA_7B,
        "lmsys/vicuna-13b-v1.5": LLAMA_13B,
        "meta-llama/Llama-2-7b-chat-hf": LLAMA_7B,
        "meta-llama/Llama-2-13b-chat-hf": LLAMA_13B,
    }
)
"""Shapes of language models as their public `config.json` gives them, so that a plan needs no download."""
LLAMA_WORDS = 32_000

DENSE_SHARE = 0.95
"""Of a dense language model's weights, embedding aside, at least so many stand in linear layers."""


@dataclass(frozen=True)
class Linear:
    """A linear layer of the language model: its name, inputs, outputs, and whether it has a bias."""

    name: str
    num_inputs: int
    num_outputs: int
    bias: bool

    @property
    def num_weights(self) -> int:
        """Weights, each of which multiplies once for every token."""
        return self.num_inputs * self.num_outputs


@dataclass(frozen=True)
class Blueprint:
    """What a model is made of, counted.

    Attributes:
        config: of the model.
        num_llm, num_projector, num_vision: parameters of the three parts.
        linears: linear layers of the language model, but for its head.
        num_head_weights: weights that a token meets in the head.
        num_biases: biases in the language model.
        num_vision_weights: weights that a patch meets in the vision tower.
        num_vision_positions: patches of a frame and, where there is one, the CLS token.
    """

    config: LitaConfig
    num_llm: int
    num_projector: int
    num_vision: int
    linears: tuple[Linear, ...]
    num_head_weights: int
    num_biases: int
    num_vision_weights: int
    num_vision_positions: int

    @property
    def num_layers(self) -> int:
        """Layers of the language model."""
        return int(self.config.text_config.num_hidden_layers)

    @property
    def width(self) -> int:
        """Width of the language model."""
        return int(self.config.text_config.hidden_size)

    @property
    def attention_width(self) -> int:
        """Width of all heads of a layer together."""
        text: dict[str, Any] = self.config.text_config.to_dict()
        heads = int(text["num_attention_heads"])
        return heads * int(text.get("head_dim") or self.width // heads)

    @property
    def num_layer_weights(self) -> int:
        """Weights that a token meets in all layers of the language model."""
        return sum(linear.num_weights for linear in self.linears)

    @property
    def num_time_rows(self) -> int:
        """Parameters in the time tokens' rows of embedding and head."""
        tables = 1 if self.config.tie_word_embeddings else 2
        return tables * self.width * int(self.config.num_time_tokens)

    def targets(self, config: TrainConfig) -> tuple[Linear, ...]:
        """Return the layers that LoRA updates are laid over.

        Raises:
            ValueError: a target that is the name of no layer.
        """
        if config.train != "lora":
            return ()
        if isinstance(config.lora_targets, str):
            return self.linears
        names = sorted({linear.name.rpartition(".")[2] for linear in self.linears})
        for target in config.lora_targets:
            if not any(_is_called(linear, target) for linear in self.linears):
                raise ValueError(
                    f"lora_targets: {target!r} is no linear layer of the language model: {', '.join(names)}"
                )
        return tuple(
            linear
            for linear in self.linears
            if any(_is_called(linear, target) for target in config.lora_targets)
        )

    def num_lora(self, config: TrainConfig) -> int:
        """Return the parameters of LoRA's pairs of matrices; errors as `targets`."""
        return sum(
            config.lora_rank * (linear.num_inputs + linear.num_outputs) for linear in self.targets(config)
        )

    def num_trained(self, config: TrainConfig) -> int:
        """Return the parameters that learn; errors as `targets`."""
        projector = self.num_projector if config.learns_projector else 0
        if config.learns_llm:
            return self.num_llm + projector
        biases = {
            "none": 0,
            "all": self.num_biases,
            "lora_only": sum(linear.num_outputs for linear in self.targets(config) if linear.bias),
        }
        return self.num_time_rows + self.num_lora(config) + biases[config.lora_bias] + projector


def _is_called(linear: Linear, name: str) -> bool:
    return linear.name == name or linear.name.endswith(f".{name}")


def blueprint_of(config: TrainConfig) -> Blueprint:
    """Return the blueprint of the model that a config trains; no weights are read, and none allocated.

    Args:
        config: it names the model by a folder with `config.json`, or by one of the public names whose shapes
            are known here.

    Raises:
        ValueError: there is no such model, or it is not a dense one.
    """
    return draw(lita_config(config))


def draw(config: LitaConfig) -> Blueprint:
    """Return the blueprint of a configuration.

    Raises:
        ValueError: the language model is not dense: not every token meets every weight.
    """
    import torch
    from torch import nn

    from litakit.modeling import LitaForConditionalGeneration

    with torch.device("meta"):
        model = LitaForConditionalGeneration(config)
    llm, vision = model.language_model, model.vision_tower
    head = llm.get_output_embeddings()
    linears = tuple(
        Linear(name, layer.in_features, layer.out_features, layer.bias is not None)
        for name, layer in llm.named_modules()
        if isinstance(layer, nn.Linear) and layer is not head
    )
    num_inside = _count(llm) - llm.get_input_embeddings().weight.numel()
    num_inside -= 0 if config.tie_word_embeddings else head.weight.numel()
    if sum(linear.num_weights for linear in linears) < DENSE_SHARE * num_inside:
        raise ValueError(
            f"a plan can be made for dense language models only: many of {config.text_config.model_type}'s "
            "weights are in no linear layer"
        )
    return Blueprint(
        config=config,
        num_llm=_count(llm),
        num_projector=_count(model.projector),
        num_vision=_count(vision),
        linears=linears,
        num_head_weights=head.weight.numel(),
        num_biases=sum(p.numel() for name, p in llm.named_parameters() if name.endswith("bias")),
        num_vision_weights=sum(
            layer.weight.numel() for layer in vision.modules() if isinstance(layer, nn.Linear | nn.Conv2d)
        ),
        num_vision_positions=next(
            layer.num_embeddings for layer in vision.modules() if isinstance(layer, nn.Embedding)
        ),
    )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def lita_config(config: TrainConfig) -> LitaConfig:
    """Return the configuration of the model that a config trains.

    Raises:
        ValueError: there is no such model.
    """
    from litakit.modeling import LitaConfig

    if config.lita is not None:
        folder = model_folder(config.lita)
        if not published.is_published(folder):
            return LitaConfig.from_pretrained(folder)
        fields = published.read_config(folder)
        last = max(fields.get("time_token_ids") or [-1])
        return published.published_config(folder, max(fields.get("vocab_size", LLAMA_WORDS), last + 1))
    assert config.llm is not None
    assert config.vision is not None
    text, vision = _llm_config(config.llm), _vision_config(config.vision)
    # As `from_parts` does: rows for the time tokens and for the places of the video.
    text.vocab_size += LitaConfig.num_time_tokens + 1
    template = config.chat_template or LitaConfig.chat_template
    return LitaConfig(
        vision_config=vision,
        text_config=text,
        chat_template=template,
        tie_word_embeddings=text.tie_word_embeddings,
    )


def llm_folder(config: TrainConfig) -> Path | None:
    """Return where the language model's tokenizer should be: a folder here, or None."""
    if config.lita is not None:
        return model_folder(config.lita)
    assert config.llm is not None
    return published.vision_folder(Path(), config.llm)


def _llm_config(name: str) -> Any:
    from transformers import AutoConfig, LlamaConfig

    folder = published.vision_folder(Path(), name)
    if folder is not None:
        return AutoConfig.from_pretrained(folder)
    if name not in KNOWN_LLMS:
        raise ValueError(_unknown("llm", name, KNOWN_LLMS))
    return LlamaConfig(vocab_size=LLAMA_WORDS, **KNOWN_LLMS[name])


def _vision_config(name: str) -> Any:
    from transformers import AutoConfig, CLIPVisionConfig

    folder = published.vision_folder(Path(), name)
    if folder is not None:
        return AutoConfig.from_pretrained(folder)
    if name not in published.KNOWN_TOWERS:
        raise ValueError(_unknown("vision", name, published.KNOWN_TOWERS))
    return CLIPVisionConfig(**published.KNOWN_TOWERS[name])


def _unknown(field: str, name: str, known: Mapping[str, Any]) -> str:
    return (
        f"{field}: {name} is neither a folder with config.json, nor in the hub's local cache, nor one of "
        f"{', '.join(known)}, whose shapes are known"
    )
