"""The probe without Ansible's own module code, whose unpacking and compiling costs more than the probe.

The action plugin p2p_probe sends the text of this file with the texts of the modules that it needs; the
node's interpreter runs them from memory. Nothing is written on the node.
"""

from __future__ import annotations

import importlib
import json
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Mapping, Optional, Sequence

PACKAGE = "p2p_parts"


class Texts:
    """Imports modules of PACKAGE from their texts."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = texts

    def find_spec(
        self, name: str, _path: Optional[Sequence[str]] = None, _target: Optional[ModuleType] = None
    ) -> Optional[ModuleSpec]:
        """Return how a module is loaded, or None if it is not one of these."""
        if name == PACKAGE:
            return ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]  # has what is called
        parent, _, stem = name.rpartition(".")
        known = parent == PACKAGE and stem in self.texts
        return ModuleSpec(name, self) if known else None  # type: ignore[arg-type]  # as above

    def create_module(self, _spec: ModuleSpec) -> None:
        """Leave it to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Run a module's text."""
        stem = module.__name__.rpartition(".")[2]
        text = self.texts.get(stem, "")
        exec(compile(text, stem + ".py", "exec", dont_inherit=True), module.__dict__)  # noqa: S102  # our own


def main(texts: Mapping[str, str], params: Mapping[str, Any]) -> None:
    """Look at the node and print the answer as the module would.

    Args:
        texts: name -> text of the modules.
        params: the options of p2p_probe, complete.
    """
    sys.meta_path.insert(0, Texts(texts))
    options = importlib.import_module(PACKAGE + ".p2p_probe_options")
    parts = importlib.import_module(PACKAGE + ".p2p_probe_parts")
    print(json.dumps({"changed": False, "probe": parts.probe(options.with_paths(params))}))
