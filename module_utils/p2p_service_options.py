"""The options of p2p_service, for it and for p2p_release, which may run a service from what it makes."""

from __future__ import annotations

from typing import Any, Dict, Set

from ansible.module_utils.common.validation import check_type_dict

from .p2p_digest import plain_file
from .p2p_files import is_foretold

SECRETS: Dict[str, Any] = {"type": "dict", "default": {}, "no_log": True}


def file_item(value: object) -> Dict[str, Any]:
    """Return an item of `files`; a secret that stands in it is refused here, before Ansible logs it.

    Raises:
        ValueError: naming the file and the remedy.
        TypeError: if it is no dictionary.
    """
    item: Dict[str, Any] = check_type_dict(value)
    plain_file(item)
    return item


OPTIONS: Dict[str, Dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "unit": {"type": "str"},
    "files": {"type": "list", "elements": file_item, "default": []},
    "directories": {"type": "list", "elements": "dict", "default": []},
    "enabled": {"type": "bool"},
    "state": {"type": "str", "choices": ["started", "stopped", "restarted", "absent"], "default": "started"},
    "purge": {"type": "bool", "default": False},
    "current": {"type": "path"},
    "masked_units": {"type": "list", "elements": "str", "default": []},
    "program": {"type": "dict"},
    "manager": {"type": "str", "choices": ["auto", "systemd", "supervisord", "launchd"], "default": "auto"},
    "place": {"type": "dict", "default": {}},
    "wait_seconds": {"type": "int", "default": 60},
    "settle_seconds": {"type": "float", "default": 2.0},
}


def masked(texts: Set[str]) -> Set[str]:
    """Return which of the texts that Ansible would mask in an answer are secrets.

    What stands in for a key in a preview is none, and masking it or a blank would mask half the answer.
    """
    return {text for text in texts if text.strip() and not is_foretold(text)}
