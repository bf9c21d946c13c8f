"""What learns: the base model of a run is loaded, its parts are frozen or not, LoRA is laid over it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from litakit.assistant.loading import model_folder
from litakit.modeling import (
    LitaConfig,
    LitaForConditionalGeneration,
    LitaProcessor,
    build_tokenizer,
    choose_attention,
)
from litakit.modeling.checkpoints import image_processor_of, load_model
from litakit.training.time_rows import learn_time_rows

if TYPE_CHECKING:
    from litakit.training.config import TrainConfig

COMPUTED_IN = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Type that is computed in, by the config's `precision`."""


def load_base(config: TrainConfig) -> tuple[LitaForConditionalGeneration, LitaProcessor]:
    """Load the model that a run begins with, in float32 and on the CPU, and its processor.

    Raises:
        FileNotFoundError, ValueError: as `load_model` and `LitaForConditionalGeneration.from_parts`; and for
            a kind of quantised weights that cannot be loaded.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    attention = choose_attention(config.attention, COMPUTED_IN[config.precision], device)
    if config.lita is not None:
        folder = model_folder(config.lita)
        if config.quantize == "none":
            model, processor = load_model(folder, dtype="float32", device="cpu", attention=attention)
        elif config.quantize == "nf4" and config.double_quant:
            model, processor = load_model(
                folder,
                dtype=COMPUTED_IN[config.precision],
                device=device,
                attention=attention,
                quantization="4bit",
            )
        else:
            raise ValueError(
                f"expected quantize: nf4 with double_quant: true, got {config.quantize} with "
                f"{config.double_quant}"
            )
    elif config.quantize != "none":
        raise ValueError(
            f"quantize: {config.quantize} needs a whole model, got its parts: save one first, and name it "
            "as lita"
        )
    else:
        assert config.llm is not None
        assert config.vision is not None
        model = LitaForConditionalGeneration.from_parts(
            config.llm,
            config.vision,
            config.projector,
            seed=config.seed,
            chat_template=config.chat_template,
            max_sequence_length=config.max_length,
        )
        model.set_attn_implementation(attention)
        made: LitaConfig = model.config  # type: ignore[assignment]
        tokenizer = build_tokenizer(config.llm, made.num_time_tokens)
        images = image_processor_of(Path(config.vision), made)
        processor = LitaProcessor.from_config(made, images, tokenizer)
    processor.max_sequence_length = config.max_length
    return model, processor


def choose_learners(model: LitaForConditionalGeneration, config: TrainConfig) -> None:
    """Freeze what is not to learn, and lay LoRA over what is to learn by it.

    The rows of the time tokens learn whatever is chosen: with their matrices, or where these stand still, by
    themselves, and then no bit of another row changes. LoRA's matrices start from the config's seed.

    Raises:
        ImportError: LoRA without peft.
        ValueError: no layer of the language model has one of the names in lora_targets.
    """
    model.requires_grad_(requires_grad=False)
    if config.learns_llm:
        model.language_model.requires_grad_(requires_grad=True)
    if config.train == "lora":
        _lay_lora(model, config)
    if not config.learns_llm:
        learn_time_rows(model)
    model.projector.requires_grad_(requires_grad=config.learns_projector)


def _lay_lora(model: LitaForConditionalGeneration, config: TrainConfig) -> None:
    try:
        from peft import inject_adapter_in_model
    except ImportError as error:
        raise ImportError("train: lora needs peft, which is not installed: pip install peft") from error
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        inject_adapter_in_model(lora_config(model, config), model.language_model)
    for name, parameter in model.language_model.named_parameters():
        if ".lora_" in name:
            parameter.data = parameter.data.float()


def lora_config(model: LitaForConditionalGeneration, config: TrainConfig) -> Any:
    """Return peft's record of a config's LoRA.

    Raises:
        ValueError: no layer of the language model has one of the names in lora_targets.
    """
    from peft import LoraConfig

    head = model.get_output_embeddings()
    linear = {
        name: name.rpartition(".")[2]
        for name, module in model.language_model.named_modules()
        if (isinstance(module, nn.Linear) or hasattr(module, "base_layer")) and module is not head
    }
    targets = config.lora_targets
    names = sorted(set(linear.values())) if targets == "all-linear" else list(targets)
    unknown = sorted(set(names) - set(linear.values()))
    if unknown:
        raise ValueError(
            f"lora_targets: expected names out of {', '.join(sorted(set(linear.values())))}, "
            f"got {', '.join(unknown)}"
        )
    return LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,  # type: ignore[arg-type]  # peft divides by it, whatever it says
        lora_dropout=config.lora_dropout,
        target_modules=names,
        bias=config.lora_bias,
    )


def learnt_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters that learn, by name: what a checkpoint holds."""
    return {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
