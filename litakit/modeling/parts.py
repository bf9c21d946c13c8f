"""Building a LITA from the folders of its parts, and laying an adapter over a base model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from litakit.modeling.configuration import LitaConfig
from litakit.modeling.tokenizer import IM_END, IM_PATCH, IM_START, build_tokenizer
from litakit.modeling.weights import read_file

if TYPE_CHECKING:
    from litakit.modeling.model import LitaForConditionalGeneration

Model = TypeVar("Model", bound="LitaForConditionalGeneration")


def model_from_parts(
    cls: type[Model],
    llm: str | Path,
    vision: str | Path,
    projector: str | Path | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    **config_fields: Any,
) -> Model:
    """Build an untrained LITA; `LitaForConditionalGeneration.from_parts` calls this.

    Args:
        cls: the model's class.
        llm: folder of a causal language model with its tokenizer.
        vision: folder of a CLIP-style model; of a CLIP with a text half, only the vision half is taken.
        projector: a LLaVA projector file; without it the projector starts at random, from `seed`.
        seed: of what starts at random.
        dtype: type of all the weights.
        **config_fields: fields of :class:`LitaConfig` that differ from the published ones.

    Returns:
        The model; new rows of embedding and head stand at the mean of the old ones.

    Raises:
        FileNotFoundError: a folder or file is not there.
        ValueError: the projector does not fit the widths of the two models.
    """
    for folder in (Path(llm), Path(vision)):
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"{folder}: expected the folder of a model with config.json")
    tokenizer = build_tokenizer(
        llm,
        config_fields.get("num_time_tokens", 100),
        use_im_patch=config_fields.get("use_im_patch", False),
        use_im_start_end=config_fields.get("use_im_start_end", False),
    )
    text_config = AutoConfig.from_pretrained(llm)
    vision_config = AutoConfig.from_pretrained(vision)
    if "vision_config" in vision_config.sub_configs:
        vision_config = vision_config.vision_config
    text_config.dtype = vision_config.dtype = torch.float32  # means are exact; `dtype` comes at the end
    old_rows = text_config.vocab_size
    text_config.vocab_size = max(len(tokenizer), old_rows) + 1
    names = list(_time_tokens(config_fields.get("num_time_tokens", 100)))
    config = LitaConfig(
        vision_config=vision_config,
        text_config=text_config,
        time_token_ids=tokenizer.convert_tokens_to_ids(names),
        video_token_id=text_config.vocab_size - 1,
        **config_fields,
    )
    added = tokenizer.convert_tokens_to_ids([*names, *_markers(config)])
    torch.manual_seed(seed)
    model = cls(config)
    language_model = AutoModelForCausalLM.from_pretrained(llm, dtype=torch.float32)
    state = language_model.state_dict()
    for layer in (language_model.get_input_embeddings(), language_model.get_output_embeddings()):
        weight = layer.get_parameter("weight")
        for name, value in list(state.items()):
            if value.data_ptr() == weight.data_ptr():
                grown = grow_rows(value, text_config.vocab_size)
                grown[added] = grown[-1].clone()  # also where the folder's matrix had rows to spare
                state[name] = grown
    model.language_model.load_state_dict(state)
    tower = AutoModel.from_pretrained(vision, config=vision_config, dtype=torch.float32)
    model.vision_tower.load_state_dict(tower.state_dict())
    if projector is not None:
        load_projector(model, Path(projector))
    nn.Module.to(model, dtype)
    return model


def _markers(config: LitaConfig) -> list[str]:
    return ([IM_PATCH] if config.use_im_patch else []) + (
        [IM_START, IM_END] if config.use_im_start_end else []
    )


def _time_tokens(count: int) -> tuple[str, ...]:
    from litakit.time_tokens import TimeTokenizer

    return TimeTokenizer(count).tokens if count else ()


def grow_rows(old: Tensor, num_rows: int) -> Tensor:
    """Rows appended to a matrix, each the mean of the old ones (computed in float32).

    >>> grow_rows(torch.tensor([[1.0, 3.0], [3.0, 5.0]]), 3).tolist()
    [[1.0, 3.0], [3.0, 5.0], [2.0, 4.0]]
    """
    mean = old.float().mean(dim=0, keepdim=True).to(old.dtype)
    return torch.cat([old, mean.expand(num_rows - len(old), *old.shape[1:])])


def load_projector(model: LitaForConditionalGeneration, path: Path) -> None:
    """Put a LLaVA projector file's weights into a model.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it holds no projector, or one of other widths.
    """
    found = projector_tensors(read_file(path), path)
    wanted = model.projector.state_dict()
    for name in wanted:
        if name not in found:
            raise ValueError(f"{path}: expected mm_projector.{name}, found {sorted(found)}")
        if found[name].shape != wanted[name].shape:
            raise ValueError(
                f"{path}: mm_projector.{name} has the shape {tuple(found[name].shape)}, but vision tower and "
                f"language model need {tuple(wanted[name].shape)}"
            )
    model.projector.load_state_dict({name: found[name] for name in wanted})


def projector_tensors(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """A projector's tensors out of a file, named as the layer names them ("weight", "bias").

    Raises:
        ValueError: there are none.
    """
    found = {name.rpartition("mm_projector.")[2]: t for name, t in tensors.items() if "mm_projector." in name}
    if not found:
        raise ValueError(
            f"{path}: expected tensors named mm_projector.weight and mm_projector.bias, "
            f"found {sorted(tensors)[:5]}"
        )
    return found
