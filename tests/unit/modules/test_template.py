"""The lookup p2p_template renders what Ansible's own does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[3]
TEXT = "{{ ansible_managed | comment }}\n{% if colour %}\ncolour={{ colour }}\n{% endif %}\n\\n {{ later }}\n"


def test_it_renders_what_the_stock_lookup_does(tmp_path: Path) -> None:
    template = tmp_path / "unit.j2"
    template.write_text(TEXT)
    (tmp_path / "variables.json").write_text(json.dumps({"colour": "blue", "later": "{{ colour | upper }}"}))
    same = f"lookup('p2p_template', '{template}') == lookup('ansible.builtin.template', '{template}')"
    right = f"lookup('p2p_template', '{template}').endswith('\\ncolour=blue\\n\\\\n BLUE\\n')"
    words = ["-i", "localhost,", "-c", "local", "all", "-e", f"@{tmp_path}/variables.json", "-m", "assert"]
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible")), *words, "-a", json.dumps({"that": [same, right]})],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
