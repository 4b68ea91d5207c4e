"""The probe without Ansible's own module code, whose unpacking and compiling costs more than the probe.

The action plugin p2p_probe sends this file with the modules that it needs, compiled and as texts; the node's
interpreter runs them from memory. Nothing is written on the node.
"""

from __future__ import annotations

import importlib
import json
import sys
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Mapping, Optional, Sequence, Union

PACKAGE = "p2p_parts"


Program = Mapping[str, Union[str, CodeType]]


class Modules:
    """Imports modules of PACKAGE from their code or their texts."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def find_spec(
        self, name: str, _path: Optional[Sequence[str]] = None, _target: Optional[ModuleType] = None
    ) -> Optional[ModuleSpec]:
        """Return how a module is loaded, or None if it is not one of these."""
        if name == PACKAGE:
            return ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]  # has what is called
        parent, _, stem = name.rpartition(".")
        known = parent == PACKAGE and stem in self.program
        return ModuleSpec(name, self) if known else None  # type: ignore[arg-type]  # as above

    def create_module(self, _spec: ModuleSpec) -> None:
        """Leave it to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Run a module."""
        stem = module.__name__.rpartition(".")[2]
        code = self.program.get(stem, "")
        if isinstance(code, str):
            code = compile(code, stem + ".py", "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102  # our own


def main(program: Program, params: bytes) -> None:
    """Look at the node and print the answer as the module would.

    Args:
        program: name -> code or text of the modules.
        params: the options of p2p_probe, complete, as JSON.
    """
    sys.meta_path.insert(0, Modules(program))
    options = importlib.import_module(PACKAGE + ".p2p_probe_options")
    parts = importlib.import_module(PACKAGE + ".p2p_probe_parts")
    print(json.dumps({"changed": False, "probe": parts.probe(options.with_paths(json.loads(params)))}))
