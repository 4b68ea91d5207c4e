"""Filters that name a release and reduce a specification to what a probe compares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.p2p.cluster.module_utils import p2p_digest

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
            "p2p_release_name": _guarded("p2p_release_name", p2p_digest.release_name),
            "p2p_release_digest": _guarded("p2p_release_digest", p2p_digest.release_digest),
            "p2p_release_wanted": _guarded("p2p_release_wanted", p2p_digest.release_wanted),
            "p2p_service_wanted": _guarded("p2p_service_wanted", p2p_digest.service_wanted),
        }
