"""The plugin's documentation and docs/inventory.md say what the plugin does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from inventory_plugins import distributed_hosts
from tests.unit.inventory.conftest import REPOSITORY, Result

PAGE = REPOSITORY / "docs" / "inventory.md"
DOCUMENTATION: dict[str, Any] = yaml.safe_load(distributed_hosts.DOCUMENTATION)


def plain(text: str) -> str:
    """Turn Ansible's markup into Markdown's."""
    return re.sub(r"[CVO]\(([^)]*)\)", r"`\1`", text)


def row(name: str, option: dict[str, Any]) -> str:
    """Return an option's row in the table of docs/inventory.md."""
    default = option.get("default")
    shown = "" if default is None else f"`{default}`"
    variables = ", ".join(f"`{variable['name']}`" for variable in option.get("env", []))
    choices = (
        f" One of {', '.join(f'`{choice}`' for choice in option['choices'])}." if "choices" in option else ""
    )
    return f"| `{name}` | {shown} | {variables} | {plain(' '.join(option['description']))}{choices} |"


def test_the_table_of_options_is_that_of_the_plugin() -> None:
    block = PAGE.read_text().split("<!-- options:")[1].split("<!-- end of options -->")[0].splitlines()
    rows = [row(name, option) for name, option in DOCUMENTATION["options"].items()]
    assert block[3:] == rows


def test_every_variable_and_group_is_documented(example_fleet: Result) -> None:
    page = PAGE.read_text()
    ours = {name for name in example_fleet.hosts["vast-28918742"] if name != "ansible_local"}
    names = ours | {"ansible_connection", "ansible_ssh_common_args", *distributed_hosts.FIXED_GROUPS}
    assert not [name for name in names if f"`{name}`" not in page]


def test_ansible_doc_shows_it() -> None:
    command = [str(Path(sys.executable).parent / "ansible-doc"), "-t", "inventory", "distributed_hosts"]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    for option in (
        *DOCUMENTATION["options"],
        "compose",
        "groups",
        "keyed_groups",
        "strict",
        "cache",
        "cache_plugin",
    ):
        assert re.search(rf"^[-= ] +{option}  ", done.stdout, re.MULTILINE), option


def test_the_examples_are_a_fleet_and_settings_that_work() -> None:
    fleet, settings = yaml.safe_load_all(distributed_hosts.EXAMPLES)
    checked = distributed_hosts.Fleet.read(distributed_hosts.Source("example", yaml.safe_dump(fleet)))
    assert checked.voters == ["nebius-backbone-1"]
    fragment = {"compose", "groups", "keyed_groups"}
    assert set(settings) - fragment <= set(DOCUMENTATION["options"])
