"""YAML files checked by pydantic, whose errors name the file, the line and the field."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError


class ManifestError(ValueError):
    """A manifest or mixture that is not as it should be; it names the file, the line and the field."""


class StrictModel(BaseModel):
    """Fields as declared, no others, and none changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


M = TypeVar("M", bound=StrictModel)


def load_yaml(file: Path, model: type[M]) -> M:
    """Read a YAML file as a model.

    Raises:
        ManifestError: not there, not YAML, or not what the model asks for; with file, line and field.
    """
    try:
        text = file.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except OSError as error:
        raise ManifestError(f"{file}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{file}: expected UTF-8 text ({error.reason} at byte {error.start})") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ManifestError(f"{file}:{line}: not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ManifestError(f"{file}: not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ManifestError(f"{file}:1: expected fields such as name and title, got {_kind(content)}")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ManifestError(_explain(file, node, error)) from error


def _explain(file: Path, root: yaml.Node | None, error: ValidationError) -> str:
    """Write each fault with its line and field; not that of a whole whose part is at fault."""
    lines = []
    faults = error.errors(include_url=False)
    for fault in faults:
        where = fault["loc"]
        if any(other["loc"][: len(where)] == where != other["loc"] for other in faults):
            continue
        field = ".".join(str(part) for part in where) or "the manifest"
        words = fault["msg"].removeprefix("Value error, ")
        got = "" if fault["type"] in ("missing", "value_error") else f", got {fault['input']!r}"
        lines.append(f"{file}:{_line_of(root, where)}: {field}: {words}{got}")
    return "\n".join(lines)


def _line_of(node: yaml.Node | None, where: Sequence[int | str]) -> int:
    """Return the line of the deepest part of a field's path that stands in the file."""
    line = 1
    for part in where:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _kind(content: object) -> str:
    return "an empty file" if content is None else f"a {type(content).__name__}"
