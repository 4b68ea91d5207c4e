"""Filters that name a release and reduce a specification to what a probe compares."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: p2p_release_wanted
short_description: A release's specification with digests in place of contents
description:
  - Turns the parameters of M(p2p_release) into the structure that M(p2p_probe) takes as C(wanted.release).
  - P(p2p_service_wanted#filter) does the same for M(p2p_service), P(p2p_release_name#filter) names a release.
options:
  _input:
    description: The parameters of p2p_release as a dictionary.
    type: dict
    required: true
"""


def _shared() -> ModuleType:
    """Load module_utils/p2p_digest.py: Ansible puts that folder on nodes, not on the controller's path."""
    path = Path(__file__).resolve().parent.parent / "module_utils" / "p2p_digest.py"
    spec = importlib.util.spec_from_file_location("p2p_digest_shared", path)
    if spec is None or spec.loader is None:
        raise AnsibleFilterError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_DIGEST = _shared()


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(spec: Mapping[str, Any], *args: str) -> object:
        try:
            return function(spec, *args)
        except KeyError as error:
            raise AnsibleFilterError(f"{name}: the specification has no {error}") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise AnsibleFilterError(f"{name}: {error}") from error

    return call


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "p2p_release_name": _guarded("p2p_release_name", _DIGEST.release_name),
            "p2p_release_digest": _guarded("p2p_release_digest", _DIGEST.release_digest),
            "p2p_release_wanted": _guarded("p2p_release_wanted", _DIGEST.release_wanted),
            "p2p_service_wanted": _guarded("p2p_service_wanted", _DIGEST.service_wanted),
        }
