"""Building a LITA from the folders of its parts, and laying an adapter over a base model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedModel

from litakit.modeling.configuration import LitaConfig
from litakit.modeling.tokenizer import IM_END, IM_PATCH, IM_START, build_tokenizer
from litakit.modeling.weights import read_file

if TYPE_CHECKING:
    from litakit.modeling.model import LitaForConditionalGeneration

Model = TypeVar("Model", bound="LitaForConditionalGeneration")


@torch.random.fork_rng(devices=[])
def model_from_parts(
    cls: type[Model],
    llm: str | Path,
    vision: str | Path,
    projector: str | Path | None = None,
    projector_kind: Literal["linear", "mlp"] | None = None,
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
        projector_kind: "linear" or "mlp" (two layers); by default what the file holds, else "linear".
        seed: of what starts at random.
        dtype: type of all the weights; there is never a second copy of them.
        **config_fields: fields of :class:`LitaConfig` that differ from the published ones.

    Returns:
        The model, in evaluation mode; new rows of embedding and head stand at the mean of the old ones.

    Raises:
        FileNotFoundError: a folder or file is not there.
        ValueError: a model's weights are not all there, or the projector does not fit the two widths.
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
    tensors = {} if projector is None else projector_tensors(read_file(Path(projector)), Path(projector))
    vision_config = AutoConfig.from_pretrained(vision)
    if "vision_config" in vision_config.sub_configs:
        vision_config = vision_config.vision_config
    language_model = load_whole(AutoModelForCausalLM, llm, dtype=dtype)
    names = list(_time_tokens(config_fields.get("num_time_tokens", 100)))
    old_rows = language_model.config.vocab_size
    num_rows = max(len(tokenizer), old_rows) + 1
    language_model.resize_token_embeddings(num_rows, mean_resizing=False)
    config = LitaConfig(
        vision_config=vision_config,
        text_config=language_model.config,
        time_token_ids=tokenizer.convert_tokens_to_ids(names),
        video_token_id=num_rows - 1,
        projector=projector_kind or ("mlp" if "0.weight" in tensors else "linear"),
        **{"tie_word_embeddings": language_model.config.tie_word_embeddings, **config_fields},
    )
    # Also where the folder's matrix had rows to spare.
    added: Any = tokenizer.convert_tokens_to_ids([*names, *_markers(config)])
    set_rows_to_mean(language_model, [*added, *range(old_rows, num_rows)], old_rows)
    with torch.device("meta"):  # the parts are there already: no memory for a second copy
        model = cls(config)
    model.language_model = language_model
    model.vision_tower = load_whole(AutoModel, vision, config=vision_config, dtype=dtype)
    torch.manual_seed(seed)
    model.projector.to_empty(device="cpu").apply(model._init_weights)
    if projector is not None:
        _load_projector(model, tensors, Path(projector))
    nn.Module.to(model, dtype)
    return model.eval()


def load_whole(loader: Any, folder: str | Path, **options: Any) -> Any:
    """A model of transformers, refused where some of its weights are not in the folder."""
    model, found = loader.from_pretrained(folder, output_loading_info=True, **options)
    if missing := sorted(found["missing_keys"]):
        raise ValueError(
            f"{folder}: lacks {len(missing)} tensors of {type(model).__name__}: {', '.join(missing[:3])}"
        )
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


def set_rows_to_mean(language_model: PreTrainedModel, rows: Sequence[int], num_old: int) -> None:
    """Put rows of embedding and head at the mean of the first `num_old` (computed in float32)."""
    layers = (language_model.get_input_embeddings(), language_model.get_output_embeddings())
    # Of a layer its weight, and where a head has one, its bias. Tied weights come twice: all means first.
    matrices = [values for layer in layers for values in layer.parameters(recurse=False)]
    with torch.no_grad():
        means = [values[:num_old].float().mean(dim=0) for values in matrices]
        for values, mean in zip(matrices, means, strict=True):
            values[list(rows)] = mean.to(values.dtype)


def _load_projector(model: LitaForConditionalGeneration, found: Mapping[str, Tensor], path: Path) -> None:
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
