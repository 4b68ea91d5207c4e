"""Action plugin: asks all nodes of a play at once, from one process.

A task of its own on every node costs the controller a forked process each, which is several times what the
probe costs. Here the nodes' options are worked out one after the other and their connections wait side by
side. Everything else is Ansible's: how an option is found, how a connection is made, what a failure says.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ansible import context
from ansible._internal._templating._access import AnsibleAccessContext
from ansible._internal._templating._engine import TemplateEngine
from ansible._internal._templating._jinja_bits import (
    AnsibleEnvironment,
    AnsibleTemplate,
    _TemplateCompileContext,
)
from ansible.errors import AnsibleError
from ansible.executor.process import worker
from ansible.executor.task_executor import TaskExecutor
from ansible.playbook.task import Task
from ansible.plugins.action import ActionBase
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.action import end_children
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.read import refusal

PROBE = "p2p_probe"
DISCOVERED = "discovered_interpreter_python"
Answer = dict[str, Any]


_from_string = AnsibleEnvironment.from_string
_made: dict[tuple[object, ...], AnsibleTemplate] = {}


def made_once(
    environment: AnsibleEnvironment, source: object, *args: object, **kwargs: object
) -> AnsibleTemplate:
    """Make a template, or take the one that was made for another node: compiling is most of what it costs."""
    if not isinstance(source, str) or args or kwargs:
        return _from_string(environment, source, *args, **kwargs)
    # The lexer stands for the syntax; it is the same object for the same one.
    key = (source, environment, environment.lexer, _TemplateCompileContext.current().escape_backslashes)
    if key not in _made:
        _made[key] = _from_string(environment, source)
    return _made[key]


@functools.cache
def _environment(basedir: str) -> AnsibleEnvironment:
    return AnsibleEnvironment(ansible_basedir=basedir)


def environment(engine: TemplateEngine) -> AnsibleEnvironment:
    """Return the one environment of all template engines: each of its own would load its filters anew."""
    return _environment(engine.basedir)


class Held:
    """Stands in for an action plugin, to keep what it would have been run with."""

    def __init__(self, action: ActionBase) -> None:
        self.action = action
        self.variables: dict[str, Any] = {}

    def run(self, task_vars: dict[str, Any]) -> Answer:
        """Keep the variables."""
        self.variables = task_vars
        return {"changed": False}

    def cleanup(self) -> None:
        """Leave everything as it is: the action is still to be run."""

    def answer(self) -> Answer:
        """Run the action."""
        try:
            result: Answer = self.action.run(task_vars=self.variables)
        finally:
            self.action.cleanup()
        return result


class Prepared(TaskExecutor):  # type: ignore[misc]  # Ansible ships no type information
    """Prepares a task for one host, up to where the action would begin."""

    def _get_action_handler_with_module_context(self, templar: object) -> tuple[Held, Any]:
        action, module = super()._get_action_handler_with_module_context(templar)
        return Held(action), module

    def prepared(self) -> Held:
        """Return the action with its variables.

        Raises:
            AnsibleError: Something has no value, or cannot be made; the message says what.
        """
        told = self._execute(self._task_templar, self._job_vars)
        held: Held | None = getattr(self, "_handler", None)
        if held is None or told.get("failed"):
            raise AnsibleError(str(told.get("msg") or told))
        return held


def failed(error: Exception) -> Answer:
    """Return the result that Ansible would make of an exception."""
    told = error.message if isinstance(error, AnsibleError) else f"{type(error).__name__}: {error}"
    contributed = dict(getattr(error, "result_contribution", {}))
    return refusal({"msg": f"Task failed: {told}"} | (contributed or {"failed": True}))


class Nodes:
    """Questions that wait side by side, so many at a time, each for so long and no longer."""

    def __init__(self, most: int, seconds: float) -> None:
        self._slots = threading.BoundedSemaphore(most)
        self._seconds = seconds
        self._guard = threading.Lock()
        self._answers: dict[str, Answer] = {}
        self._asked: dict[str, tuple[threading.Thread, float]] = {}

    def ask(self, name: str, question: Callable[[], Answer]) -> None:
        """Put a question, once fewer than the most are waiting; a late one makes room for the next."""
        room = self._slots.acquire(timeout=self._seconds)
        variables = contextvars.copy_context()

        def wait() -> None:
            try:
                answer = variables.run(_apart, question)
            except Exception as error:  # any failure of one node is its answer, never the run's end
                answer = failed(error)
            with self._guard:
                self._answers[name] = answer
            if room:
                self._slots.release()

        thread = threading.Thread(target=wait, daemon=True)
        self._asked[name] = (thread, time.monotonic())
        thread.start()

    def answers(self) -> dict[str, Answer]:
        """Return what each answered, in the order asked; end what still waits when its time is over."""
        for thread, began in self._asked.values():
            thread.join(max(0.0, began + self._seconds - time.monotonic()))
        with self._guard:
            found = dict(self._answers)
        late = [name for name in self._asked if name not in found]
        if late:
            end_children()
        told = {
            "changed": False,
            "failed": True,
            "msg": f"Task failed: Timed out after {self._seconds:g} second(s).",
        }
        # What a run does, and foretells, must not depend on who answers first.
        return {name: found.get(name, told) for name in self._asked}


def _apart(question: Callable[[], Answer]) -> Answer:
    """Put a question with a list of its own of who is told what templates read.

    A copied context holds the very list of the thread that it was copied from, and each rendering takes the
    last entry out again: that of another thread, if two render at the same time.
    """
    AnsibleAccessContext._contextvar.set(AnsibleAccessContext())
    return question()


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no type information
    """Runs p2p_probe on every node of the play, with the same arguments, rendered for each."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _requires_connection = False

    @classmethod
    def finalize_task_arg(cls, _name: str, value: object, _templar: object, _context: object) -> object:
        """Leave the arguments as they are written: each node has values of its own."""
        return value

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask all nodes of the play.

        Returns:
            `nodes`, for each what p2p_probe returns, or what a task that failed there does. Nodes that an
            earlier play of the run has asked keep what they said. `asked`, when the first node of the run was
            (seconds since the epoch).
        """
        super().run(tmp, task_vars)
        variables = task_vars or {}
        # This process is the task's own, and ends with it.
        AnsibleEnvironment.from_string = made_once
        TemplateEngine.environment = property(environment)
        self._shared_loader_obj.action_loader.get(PROBE, class_only=True).program()
        nodes = Nodes(
            context.CLIARGS["forks"], float(self._templar.template(variables["p2p_health_timeout"]))
        )
        earlier = variables.get("p2p_health_nodes") or {}
        asked = earlier.get("asked") or time.time()
        for name in variables["ansible_play_hosts"]:
            nodes.ask(name, self._question(name, variables))
        answers = nodes.answers()
        found = {"asked": asked, "nodes": earlier.get("nodes", {}) | answers}
        return {"changed": False, **found} | _shared(answers)

    def _question(self, name: str, variables: Mapping[str, Any]) -> Callable[[], Answer]:
        """Return what asks one node, or gives the reason why it cannot be asked."""
        # Ansible prepares tasks where nothing else goes on; here threads ask other nodes meanwhile.
        with contextlib.suppress(AnsibleError):
            return self._held(name, variables).answer
        try:
            return self._held(name, variables).answer
        except AnsibleError as error:
            answer = failed(error)
            return lambda: answer

    def _held(self, name: str, variables: Mapping[str, Any]) -> Held:
        """Return the probe of one node, ready to be run."""
        here, block = worker.current_worker, self._task._parent
        # The whole task has the time that any task may take; each node has its own, `p2p_health_timeout`.
        words = {"name": self._task.name, "action": PROBE, "args": self._task.args, "timeout": 0}
        task = Task.load(words, block=block, role=self._task._role, loader=self._loader)
        host = here._variable_manager._inventory.get_host(name)
        known = here._variable_manager.get_vars(
            play=block._play,
            host=host,
            task=self._task,
            _hosts=variables["ansible_play_hosts"],
            _hosts_all=variables["ansible_play_hosts_all"],
        )
        made = Prepared(
            host,
            task,
            known,
            here._play_context,
            self._loader,
            self._shared_loader_obj,
            here._final_q,
            here._variable_manager,
        )
        return made.prepared()


def _shared(answers: Mapping[str, Answer]) -> dict[str, Any]:
    """Return the interpreter that all nodes have: what a task that runs once learns holds for all of them.

    One node that names another than the rest, or none, decides for nobody: each is looked for then. One whose
    answer is not believed is as one that is not reached.
    """
    found = {
        (node.get("ansible_facts") or {}).get(DISCOVERED)
        for node in answers.values()
        if not node.get("unreachable") and not node.get("untrusted")
    }
    return {"ansible_facts": {DISCOVERED: found.pop()}} if len(found) == 1 and None not in found else {}
