"""Action plugin: runs one of Ansible's own modules on a node, behind the door.

Called directly, such a module's answer would be obeyed: Ansible reads more of it than what it documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible_collections.p2p.cluster.plugins.plugin_utils.door import read
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.action import Door
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.builtin import SCHEMAS, shaped


class ActionModule(Door):
    """Runs the module that its one argument names, as in `p2p_builtin: {user: {name: p2p}}`."""

    def answer(self, variables: dict[str, Any]) -> read.Answer:
        """Return what goes on of what the module answers.

        Raises:
            AnsibleActionFail: it is not called with one module that has a schema.
        """
        given: Mapping[str, Any] = self._task.args
        if len(given) != 1 or not given.keys() <= SCHEMAS.keys():
            raise AnsibleActionFail(f"p2p_builtin takes one of {', '.join(SCHEMAS)}, with its arguments")
        ((self.MODULE, arguments),) = given.items()
        return self.ask(arguments, variables)

    def told(self, raw: Mapping[str, Any]) -> read.Answer:
        """Return what of an answer goes on."""
        made = shaped(self.MODULE, raw, self._task.args[self.MODULE])
        found = read.result(self.MODULE, made, SCHEMAS[self.MODULE])
        return found | {"invocation": {"module": self.MODULE}}

    def executed(self, arguments: Mapping[str, Any], variables: dict[str, Any]) -> Mapping[str, Any]:
        """Return what Ansible hands on; a file's content goes to the node by Ansible's own action."""
        if self.MODULE != "copy":
            answer: Mapping[str, Any] = self._execute_module(
                module_name=f"ansible.builtin.{self.MODULE}",
                module_args=dict(arguments),
                task_vars=variables,
            )
            return answer
        task = self._task.copy()
        task.args = dict(arguments)
        copy = self._shared_loader_obj.action_loader.get(
            "ansible.builtin.copy",
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        copied: Mapping[str, Any] = copy.run(task_vars=variables)
        return copied
