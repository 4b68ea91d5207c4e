"""Settings of earlier versions: whoever still has one is told what does the same now."""

from __future__ import annotations

import re

import pytest

from action_plugins.p2p_settings import GONE, gone, shared, specs


def test_a_setting_that_is_gone_is_told_with_what_takes_its_place() -> None:
    assert gone(["p2p_venv_lock", "p2p_release_lock", "inventory_hostname"]) == [
        "p2p_venv_lock: there is no such setting any more; in its place there is p2p_release_lock"
    ]
    assert [line.partition(":")[0] for line in gone(reversed(GONE))] == sorted(GONE)
    assert gone([]) == []


@pytest.mark.parametrize("name", sorted(GONE))
def test_what_takes_its_place_is_a_setting_and_it_is_none(name: str) -> None:
    settings = shared().union(*specs().values())
    assert name not in settings
    assert set(re.findall(r"p2p_\w+", GONE[name])) <= settings
