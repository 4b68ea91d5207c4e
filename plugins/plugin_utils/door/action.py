"""An action plugin that runs a module on a node, and hands on what the door lets through."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

from .read import MESSAGE, Answer, UntrustedError, result, untrusted
from .texts import block

# As Ansible names the folder; the node says only in which folder it lies.
_FOLDER = re.compile(r"/[^\0-\x1f\x7f]{0,900}/ansible-tmp-[0-9.]{1,40}-[0-9]{1,20}-[0-9]{1,20}")


def end_children() -> None:
    """End the programs that connect to nodes: all in this worker's process group, if that is its own."""
    if os.getpid() != os.getpgrp():
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    signal.signal(signal.SIGTERM, before)


class Door(ActionBase):  # type: ignore[misc]  # Ansible ships no type information
    """Runs the module of the plugin's name."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    MODULE = ""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Answer:
        """Run the module.

        Returns:
            What it documents, and nothing else.
        """
        base: Answer = super().run(tmp, task_vars)
        try:
            return base | self._signed(self.answer(task_vars or {}), task_vars or {})
        except Exception:
            raise
        except BaseException:
            # The task's time is over: Ansible leaves its ssh to a node that says nothing.
            end_children()
            raise

    def answer(self, variables: dict[str, Any]) -> Answer:
        """Return what goes on of what the node says, or raise what Ansible makes a failure of."""
        return self.ask(self._task.args, variables)

    def ask(self, arguments: Mapping[str, Any], variables: dict[str, Any]) -> Answer:
        """Return what the module answers to some arguments.

        Raises:
            AnsibleConnectionFailure: the node is not reached; the message is cleaned.
        """
        try:
            return self.told(self.raw(arguments, variables))
        except UntrustedError as error:
            return untrusted(error)

    def told(self, raw: Mapping[str, Any]) -> Answer:
        """Return what of an answer goes on."""
        # So that who looks at results knows that the node was reached.
        return result(self.MODULE, raw) | {"invocation": {"module": self.MODULE}}

    def _signed(self, answer: Answer, variables: Mapping[str, Any]) -> Answer:
        """Return an answer whose warnings begin with the node: Ansible prints them as its own."""
        if "warnings" in answer:
            name = self._task.delegate_to or variables.get("inventory_hostname", "a node")
            answer["warnings"] = [f"{name}: {text}" for text in answer["warnings"]]
        return answer

    def raw(self, arguments: Mapping[str, Any], variables: dict[str, Any]) -> Mapping[str, Any]:
        """Return an answer that the door has not seen yet."""
        try:
            return self.executed(arguments, variables)
        except AnsibleConnectionFailure as error:
            # Where it was Ansible that gave up, its ssh goes on.
            end_children()
            raise AnsibleConnectionFailure(block(error.message, MESSAGE)) from None
        except AnsibleError as error:
            end_children()
            return {"failed": True, "msg": str(error)}
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            # Ansible's own reader met what no module of ours says.
            raise UntrustedError(f"its answer cannot be read: {type(error).__name__}") from None

    def executed(self, arguments: Mapping[str, Any], variables: dict[str, Any]) -> Mapping[str, Any]:
        """Return what Ansible hands on of the module's answer."""
        answer: Mapping[str, Any] = self._execute_module(
            module_name=self.MODULE, module_args=dict(arguments), task_vars=variables
        )
        return answer

    def folder(self) -> str:
        """Make a temporary folder on the node, and return its path.

        Raises:
            AnsibleActionFail: the node names one that Ansible would not make.
        """
        path: str = self._make_tmp_path()
        if not _FOLDER.fullmatch(path.rstrip("/")):
            raise AnsibleActionFail("the node names a temporary folder that was not asked for")
        return path.rstrip("/")
