"""The Auto classes of transformers, a door too: litakit's model is registered when one is first asked for.

Registering imports torch, which ``import litakit`` must not do. So the module ``transformers`` is watched:
when somebody first takes ``AutoModel``, ``AutoConfig``, ... out of it, :mod:`litakit.modeling` is imported,
and that registers.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

WATCHED, REGISTERS = "transformers", "litakit.modeling"


class _Finder(MetaPathFinder):
    """Finds ``transformers`` as the others do, and has it watched once it is loaded."""

    searching = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that the other finders give, its loader one that goes on to watch."""
        if fullname != WATCHED or self.searching:
            return None
        self.searching = True
        try:
            spec = find_spec(WATCHED)
        finally:
            self.searching = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_watch(module: ModuleType) -> None:
                execute(module)
                _watch(sys.modules[WATCHED])

            spec.loader.exec_module = execute_and_watch  # type: ignore[method-assign]
        return spec


def _watch(module: ModuleType) -> None:
    lazy: Any = type(module)
    if any(name.startswith("Auto") for name in vars(module)):  # somebody has it already, too late to watch
        import_module(REGISTERS)
        return

    class _Watched(lazy):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("Auto"):
                self.__class__ = lazy
                import_module(REGISTERS)
                return getattr(self, name)
            return super().__getattr__(name)

    module.__class__ = _Watched


def register_when_asked() -> None:
    """Have litakit's model known to the Auto classes from the moment one of them is used."""
    if WATCHED in sys.modules:
        _watch(sys.modules[WATCHED])
    else:
        sys.meta_path.insert(0, _Finder())
