"""Every role documents its variables, and documents them as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = sorted(path for path in (Path(__file__).parents[3] / "roles").iterdir() if path.is_dir())


def _read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text()) or {}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_and_argument_specs_name_the_same_variables(role: Path) -> None:
    documented = _read(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    optional = {name for name, option in documented.items() if not option.get("required")}
    assert optional == set(_read(role / "defaults/main.yml"))


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_documented_defaults_are_the_defaults(role: Path) -> None:
    documented = _read(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    defaults = _read(role / "defaults/main.yml")
    for name, option in documented.items():
        if "default" in option:
            assert defaults[name] == option["default"], name
        elif name in defaults:
            assert "{{" in str(defaults[name]), f"{name} has a default that its documentation keeps to itself"


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_public_variables_carry_the_roles_name(role: Path) -> None:
    for name in _read(role / "defaults/main.yml"):
        assert name.startswith(f"{role.name}_"), name
