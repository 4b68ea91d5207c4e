"""What a virtual environment of somebody else's lacks."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

import pytest

from module_utils.p2p_environment import lacking


@pytest.mark.parametrize(("manager", "lacks"), [("systemd", []), ("supervisord", ["no-such-thing==1"])])
def test_supervisord_is_needed_where_it_manages_services(manager: str, lacks: list[str]) -> None:
    venv = Path(sys.executable).parents[1]
    spec = {"venv": str(venv), "user": getpass.getuser(), "names": ["pytest==0"]}
    assert lacking({**spec, "supervisord": "no-such-thing==1", "manager": manager}, 60) == lacks
