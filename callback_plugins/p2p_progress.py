"""Callback plugin: a line a batch while a playbook runs, and a line a node at its end."""

from __future__ import annotations

import atexit
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible import constants, context
from ansible.executor.stats import AggregateStats
from ansible.executor.task_result import CallbackTaskResult
from ansible.playbook import Playbook
from ansible.playbook.included_file import IncludedFile
from ansible.playbook.play import Play
from ansible.playbook.task import Task
from ansible.plugins.callback.default import CallbackModule as DefaultCallback
from ansible.utils.display import Display
from ansible_collections.p2p.cluster.plugins.plugin_utils.door import read  # noqa: F401  # workers inherit it
from ansible_collections.p2p.cluster.plugins.plugin_utils.output.display import EscapedDisplay, Painted
from ansible_collections.p2p.cluster.plugins.plugin_utils.output.escape import paragraph, terminal
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.stages import touched

DOCUMENTATION = r"""
name: p2p_progress
type: stdout
short_description: Progress of a run, and what became of every node
description:
  - Tells while a playbook runs which play or batch is at work, how far it is, and for how long it has run.
  - Tells at the end, of a preview and of a real run alike, what changed on each node, which nodes did not
    change, were held back, failed or were not reached, and why.
  - Where the run itself failed, nodes that it did not come to are told as not done, and the last line tells
    what failed and why.
  - With C(-v) it steps aside for Ansible's usual output.
  - What nodes say is text here and there, a control character in it is shown, not obeyed.
requirements:
  - set as stdout in configuration
extends_documentation_fragment:
  - default_callback
  - result_format_callback
options:
  quiet_seconds:
    description: Seconds without a line after which one tells which task is at work, and how far it is.
    type: float
    default: 10
    env:
      - name: P2P_PROGRESS_QUIET_SECONDS
    ini:
      - section: callback_p2p_progress
        key: quiet_seconds
"""

CONTROLLER = "this machine"
# Asks all nodes in one task; its result holds theirs.
FLEET = "p2p_probe_fleet"
MOST_NAMES = 12
# Lines of a reason.
MOST_LINES = 20
MOST_TASKS = 6
# So many phrases with the same verb are told one by one, more are counted.
MOST_ALIKE = 2

_PAST = {
    "activate": "activated",
    "build": "built",
    "clone": "cloned",
    "disable": "disabled",
    "enable": "enabled",
    "install": "installed",
    "make": "made",
    "mend": "mended",
    "reload": "reloaded",
    "remove": "removed",
    "restart": "restarted",
    "start": "started",
    "stop": "stopped",
    "stop, disable and mask": "stopped, disabled and masked",
    "unmask": "unmasked",
    "update": "updated",
    "write": "wrote",
}
_PRIVATE_KEY = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
_PREAMBLES = re.compile(
    r"\A(Task failed: |Failed to connect to the host via ssh: "
    r"|Data could not be sent to remote host \S+ Make sure this host can be reached over ssh:(?: |\Z))+"
)


@dataclass
class Node:
    """What a run did to one node.

    `actions` are short phrases such as `restart p2p_orchestrator.service`, `tasks` the names of changed tasks
    that gave none. `failures` holds a task's name and its message, `outcome` what the play itself decided
    (`p2p_outcome`: `state`, `why`).
    """

    actions: list[str] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    unreachable: str = ""
    outcome: Mapping[str, Any] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether any task changed something."""
        return bool(self.actions or self.tasks)

    def state(self, failed: bool, left: bool = False) -> str:
        """Return the words for it.

        Args:
            failed: whether Ansible counts it as failed.
            left: whether the run ended before it had come to the node.
        """
        told = str(self.outcome.get("state", "changed"))
        if told != "changed":
            return told
        if self.unreachable and not self.outcome:
            return "unreachable"
        if failed:
            return "failed"
        if left:
            return "not done"
        return "changed" if self.changed else "unchanged"

    def why(self, state: str) -> str:
        """Return the reason for a state that is not well."""
        if self.outcome.get("why"):
            return str(self.outcome["why"])
        if state == "unreachable":
            return self.unreachable
        return "\n".join(f"{task}: {message}" for task, message in self.failures[-1:])


def past(phrase: str) -> str:
    """Return what was done for a phrase that says what to do."""
    for verb in sorted(_PAST, key=len, reverse=True):
        if phrase.startswith(f"{verb} "):
            return _PAST[verb] + phrase[len(verb) :]
    return phrase


def shorter(phrases: Sequence[str]) -> list[str]:
    """Return phrases in which long rows of the same verb are counted."""
    rows: dict[str, list[str]] = {}
    for phrase in dict.fromkeys(phrases):
        verb, _, rest = phrase.partition(" ")
        row = verb if verb in ("make", "write") or rest.startswith("mode or owner of ") else phrase
        rows.setdefault(row, []).append(phrase)
    result: list[str] = []
    for alike in rows.values():
        result += [f"{alike[0]} and {len(alike) - 1} more"] if len(alike) > MOST_ALIKE else alike
    return result


def sentence(node: Node, preview: bool) -> str:
    """Return what was changed on a node, or would be."""
    phrases = shorter(node.actions)
    told = ", ".join(phrases if preview else map(past, phrases))
    names = list(dict.fromkeys(node.tasks))
    if len(names) > MOST_TASKS:
        names = [*names[:MOST_TASKS], f"{len(names) - MOST_TASKS} more"]
    tasks = "; ".join(names)
    if told and tasks:
        return f"{'would ' if preview else ''}{told}; also: {tasks}"
    if told:
        return f"{'would ' if preview else ''}{told}"
    return f"{'would change' if preview else 'changed'}: {tasks}"


def duration(seconds: float) -> str:
    """Return seconds as `1:05` or `1:00:05`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _counted(nodes: int) -> str:
    return f"{nodes} node{'s' * (nodes != 1)}"


def listed(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """Return names in a row, the last of many only counted."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def without_keys(text: str) -> str:
    """Return a text without the private keys in it."""
    return _PRIVATE_KEY.sub(r"(a \1, not shown)", text)


def message_of(result: Mapping[str, Any]) -> str:
    """Return what a failed result says, without Ansible's preamble."""
    if "censored" in result:
        return "its output is hidden (no_log)"
    items = [item for item in result.get("results") or [] if isinstance(item, Mapping) and item.get("failed")]
    if items:
        return "\n".join(f"{item.get('item', '')}: {message_of(item)}" for item in items)
    said = [part for key in ("msg", "module_stderr", "stderr") for part in _texts(result.get(key))]
    text = _PREAMBLES.sub("", "\n".join(dict.fromkeys(said)), count=1)
    return without_keys(text) or "no reason was given"


def _texts(value: object) -> list[str]:
    """Return what a result holds under a key as texts, none for an empty one."""
    values = value if isinstance(value, list) else [value]
    return [str(item).strip() for item in values if item]


def _name(task: Task) -> str:
    """Return a task's name without its role's."""
    return str(task.name or task.get_name()).strip()


def _shown(value: object) -> str:
    """Return a value of any type for people."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, default=str, ensure_ascii=False)


class CallbackModule(DefaultCallback):  # type: ignore[misc]  # Ansible ships no type information
    """Keeps what happened to each node, and tells it in few lines."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "p2p_progress"

    def __init__(self) -> None:
        super().__init__()
        self._display: Any = EscapedDisplay(Display())
        if self._display.verbosity:
            for name in [name for name in vars(CallbackModule) if name.startswith("v2_")]:
                setattr(self, name, getattr(super(), name))
            setattr(self, "v2_playbook_on_stats", self._recap)  # noqa: B010  # as above
        self._reset("")

    def _reset(self, playbook: str) -> None:
        self._playbook, self._running = playbook, bool(playbook)
        self._nodes: dict[str, Node] = {}
        self._began = self._told_at = time.monotonic()
        self._title = ""
        self._place: tuple[str, int] = ("", 0)
        self._batch = 0
        self._done: set[str] = set()
        self._reported = False
        self._plan: Mapping[str, Any] = {}
        # Whom its plays are about; voters outside of it are asked, too.
        self._hosts: set[str] = set()
        # What ended the run: a task, its message, and the host that Ansible counts it for.
        self._ended: tuple[str, str, str] | None = None

    # -- while it runs ------------------------------------------------------------------------------

    def v2_playbook_on_start(self, playbook: Playbook) -> None:
        """Begin anew."""
        self._reset(Path(playbook._file_name).name)
        # An interrupted run ends without its statistics.
        atexit.register(self._interrupted)
        if context.CLIARGS.get("check"):
            self._say(f"A preview of {self._playbook}: nothing is changed.")

    def v2_playbook_on_play_start(self, play: Play) -> None:
        """Remember the play or batch; it is told once a node is at work."""
        self._play = play
        inventory = play.get_variable_manager()._inventory
        hosts = [host.get_name() for host in inventory.get_hosts(play.hosts)]
        self._hosts.update(hosts)
        self._batch = len(hosts)
        total = len(inventory.get_hosts(play.hosts, ignore_restrictions=True))
        uuid, before = self._place
        first = before + 1 if uuid == play._uuid else 1
        self._place = (play._uuid, first - 1 + self._batch)
        where = _counted(total)
        if total > self._batch:
            last = self._place[1]
            where = f"node {first} of {total}" if first == last else f"nodes {first} to {last} of {total}"
        self._title = f"{play.get_name().strip()}: {where}" if self._batch else ""

    def v2_playbook_on_task_start(self, task: Task, is_conditional: bool) -> None:  # noqa: ARG002  # Ansible's
        """Tell the play with its first task that is each node's own."""
        self._last_task_name, self._done = _name(task), set()
        if self._title and (task.run_once is not True or task.action == FLEET):
            self._tell(self._title)
            self._title = ""
        elif not self._title:
            self._progress()

    def v2_playbook_on_handler_task_start(self, task: Task) -> None:
        """Treat handlers like tasks."""
        self.v2_playbook_on_task_start(task, False)

    def v2_runner_retry(self, result: CallbackTaskResult) -> None:
        """Tell what is waited for."""
        self._progress(result.host.get_name())

    def _progress(self, waits: str = "") -> None:
        if time.monotonic() - self._told_at >= self.get_option("quiet_seconds"):
            so_far = f"waits for {waits}" if waits else f"{len(self._done)} of {self._batch} nodes"
            self._tell(f"  {self._last_task_name}: {so_far}")

    def _tell(self, text: str) -> None:
        self._told_at = time.monotonic()
        self._say(f"{duration(self._told_at - self._began):>7}  {text}")

    def _say(self, text: str, color: str | None = None) -> None:
        self._display.display(text, color=color)

    # -- results ------------------------------------------------------------------------------------

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        """Keep what changed; show a debug message."""
        self._handle_warnings(result.result)
        if result.task.action in constants._ACTION_DEBUG and "results" not in result.result:
            self._debug(result.result)
        if result.task.action == FLEET:
            self._asked(result.result.get("nodes") or {})
        facts = result.result.get("ansible_facts")
        if isinstance(facts, Mapping):
            self._decided(result.host.get_name(), facts)
        looped = result.result.get("results") if result.task.loop else None
        # Items of a loop over other nodes were kept one by one.
        if result.result.get("changed") and not (looped and result.task.delegate_to):
            self._changed(result, looped or [result.result])
        self._finished(result)

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:
        """Tell a failure of the whole run at once, keep one of a node for the end."""
        self._handle_warnings(result.result)
        if not ignore_errors:
            task, message = _name(result.task), message_of(result.result)
            if result.task.run_once is True:
                self._ended = (task, message, result.host.get_name())
                self._say(f"{task}: failed", constants.COLOR_ERROR)
                # A node may have said it: none of its lines stands where ours do.
                self._say(paragraph(message), constants.COLOR_ERROR)
            else:
                self._say(f"{result.host.get_name()} failed: {task}", constants.COLOR_ERROR)
                self._node(result).failures.append((task, message))
                self._one_ends_all(result, message)
        self._finished(result)

    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        """Keep why a node was not reached."""
        self._handle_warnings(result.result)
        message = message_of(result.result)
        if self._label(result) == result.host.get_name():
            self._node(result).unreachable = message
        if not result.task.ignore_unreachable:
            self._one_ends_all(result, f"{self._label(result)} is not reached: {message}")
        self._finished(result)

    def _one_ends_all(self, result: CallbackTaskResult, message: str) -> None:
        """Keep that the run ended for all nodes with one of them, if it did."""
        if result.task.run_once is True or result.task.any_errors_fatal is True:
            self._ended = self._ended or (_name(result.task), message, result.host.get_name())

    def v2_runner_on_skipped(self, result: CallbackTaskResult) -> None:
        """Count it."""
        self._handle_warnings(result.result)
        self._finished(result, touched=False)

    def v2_runner_item_on_ok(self, result: CallbackTaskResult) -> None:
        """Show a debug message of a loop; keep what changed on the node that an item is about."""
        self._handle_warnings(result.result)
        if result.result.get("changed") and result.task.delegate_to:
            self._changed(result, [result.result])
        if result.task.action in constants._ACTION_DEBUG:
            self._debug(result.result)

    def v2_runner_item_on_failed(self, result: CallbackTaskResult) -> None:
        """Leave it to the whole loop's result."""
        self._handle_warnings(result.result)

    def v2_runner_item_on_skipped(self, result: CallbackTaskResult) -> None:
        """Say nothing."""
        self._handle_warnings(result.result)

    def v2_playbook_on_include(self, included_file: IncludedFile) -> None:
        """Say nothing."""

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """Say nothing: a plan that leaves a play without nodes is no event."""

    def v2_playbook_on_no_hosts_remaining(self) -> None:
        """Say nothing: the end tells what became of every node."""

    def v2_on_file_diff(self, result: CallbackTaskResult) -> None:
        """Show the diff under the name of its node, without private keys."""
        items = result.result.get("results") if result.task.loop else None
        shown = ""
        for item in items or [result.result]:
            if item.get("diff") and item.get("changed"):
                diffs = item["diff"] if isinstance(item["diff"], list) else [item["diff"]]
                shown += self._get_diff([self._clean_diff(diff) for diff in diffs])
        if shown:
            self._say(f"\n{self.host_label(result)}: {_name(result.task)}")
            self._say(Painted(shown.rstrip("\n") + "\n"))

    def _get_diff(self, difflist: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> str:
        """Return diffs in colours, which only they and no text in them may bring."""
        diffs = [difflist] if isinstance(difflist, Mapping) else difflist
        return Painted(super()._get_diff([self._seen_diff(diff) for diff in diffs]))

    def _seen_diff(self, diff: Mapping[str, Any]) -> dict[str, Any]:
        # A line that ends with a carriage return differs from one that does not.
        return self._each_text(diff, lambda text: terminal(text.replace("\r", r"\x0d")))

    def _each_text(self, diff: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
        """Return a diff whose texts, those made of mappings too, are changed."""
        texts = {
            key: self._serialize_diff(value) if isinstance(value, Mapping) else value
            for key, value in diff.items()
        }
        return {key: change(value) if isinstance(value, str) else value for key, value in texts.items()}

    def _clean_diff(self, diff: Mapping[str, Any]) -> dict[str, Any]:
        return self._each_text(diff, without_keys)

    def _debug(self, result: dict[str, Any]) -> None:
        self._clean_results(result, "ansible.builtin.debug")
        for key, value in result.items():
            if key == "msg":
                for line in value if isinstance(value, list) else [value]:
                    self._say(_shown(line))
            elif not key.startswith("_") and key not in ("changed", "item"):
                self._say(f"{key}: {_shown(value)}")

    def _label(self, result: CallbackTaskResult) -> str:
        """The node that a result is about."""
        there = result.result.get("_ansible_delegated_vars") or {}
        delegate = there.get("ansible_delegated_host") or result.task.delegate_to
        # Of a whole loop it is a template still.
        if not delegate or "{{" in delegate:
            return str(result.host.get_name())
        return CONTROLLER if delegate in ("localhost", "127.0.0.1") else str(delegate)

    def _node(self, result: CallbackTaskResult) -> Node:
        return self._nodes.setdefault(self._label(result), Node())

    def _changed(self, result: CallbackTaskResult, parts: Sequence[Mapping[str, Any]]) -> None:
        node = self._node(result)
        changed = [part for part in parts if part.get("changed")]
        actions = [phrase for part in changed for phrase in part.get("actions") or []]
        node.actions += actions
        if not actions and _name(result.task) not in node.tasks:
            node.tasks.append(_name(result.task))

    def _decided(self, host: str, facts: Mapping[str, Any]) -> None:
        """Keep what the play decided about its nodes: the plan, and what became of each."""
        if isinstance(facts.get("p2p_outcome"), Mapping):
            self._nodes.setdefault(host, Node()).outcome = facts["p2p_outcome"]
        plan = facts.get("p2p_plan") or {}
        self._plan = plan or self._plan
        for state in ("unreachable", "refused"):
            for name, why in dict(plan.get(state) or {}).items():
                self._nodes.setdefault(name, Node()).outcome = {"state": state, "why": why}

    def _asked(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep which nodes were reached."""
        for name, answer in answers.items():
            node = self._nodes.setdefault(name, Node())
            node.unreachable = message_of(answer) if answer.get("unreachable") else ""

    def _finished(self, result: CallbackTaskResult, touched: bool = True) -> None:
        self._reported = self._reported or "verdict" in result.result
        if touched and not result.task.run_once and self._label(result) == result.host.get_name():
            node = self._node(result)
            # A module or a probe that ran there now reached it, whatever was before.
            if {"invocation", "probe"} & result.result.keys():
                node.unreachable = ""
        self._done.add(result.host.get_name())
        self._progress()

    # -- at the end ---------------------------------------------------------------------------------

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        """Tell what became of every node."""
        rescued = {
            name
            for name, node in self._nodes.items()
            if node.failures and not stats.summarize(name)["failures"]
        }
        if self._ended:
            counts = stats.summarize(self._ended[2])
            self._ended = self._ended if counts["failures"] or counts["unreachable"] else None
        self._end(rescued)

    def _recap(self, stats: AggregateStats) -> None:
        """Print Ansible's own summary: names of the fleet file and counts, some of them in colours."""
        escaped, self._display = self._display, self._display.real
        try:
            super().v2_playbook_on_stats(stats)
        finally:
            self._display = escaped

    def _interrupted(self) -> None:
        if self._running:
            self._say(f"\n{self._playbook} was interrupted.", constants.COLOR_ERROR)
            self._ended = ("", "it was interrupted", "")
            self._end(set())

    def _end(self, rescued: Iterable[str]) -> None:
        self._running = False
        preview = bool(context.CLIARGS.get("check"))
        states: dict[str, dict[str, Node]] = {}
        for name, node in sorted(self._nodes.items()):
            if name != CONTROLLER:
                failed = bool(node.failures) and name not in rescued
                states.setdefault(node.state(failed, self._left(name, node)), {})[name] = node
        changed = {name: node for name, node in sorted(self._nodes.items()) if node.changed}
        if changed:
            self._say("")
        for name, node in changed.items():
            self._say(f"{name}: {sentence(node, preview)}", constants.COLOR_CHANGED)
        self._say("")
        total = sum(len(nodes) for nodes in states.values())
        seconds = duration(time.monotonic() - self._began)
        self._say(f"{self._playbook}: {_counted(total) if total else 'no node was asked'} in {seconds}")
        # A health report has told the rest already.
        if total and not self._reported:
            self._totals(states, preview)
            for state in ("failed", "refused", "held", "unreachable"):
                self._reasons(state, states.get(state, {}))
        if self._ended and not self._reported:
            task, message, _ = self._ended
            why = [f"{self._playbook} failed", task, next(iter(message.splitlines()), "")]
            self._say("\n" + ": ".join(filter(None, why)), constants.COLOR_ERROR)

    def _left(self, name: str, node: Node) -> bool:
        """Tell whether the run ended before it had come to a node.

        Without a plan that says who needs nothing, nobody knows what there was to do on it.
        """
        if self._ended is None or node.outcome or name not in self._hosts:
            return False
        planned = [*touched(self._plan), *self._plan.get("store_care", [])]
        return name in planned or not (node.changed or "unchanged" in self._plan)

    def _totals(self, states: Mapping[str, Mapping[str, Node]], preview: bool) -> None:
        for state, (title, color, most) in _titles(preview).items():
            nodes = list(states.get(state, {}))
            if nodes or state == "changed":
                self._say(
                    f"  {title:<13}{len(nodes):>5}  {listed(nodes, most)}".rstrip(), color if nodes else None
                )

    def _reasons(self, state: str, nodes: Mapping[str, Node]) -> None:
        title, color, _ = _titles(False)[state]
        alike: dict[str, list[str]] = {}
        for name, node in nodes.items():
            alike.setdefault(node.why(state), []).append(name)
        for why, names in alike.items():
            self._say(f"\n{title}: {', '.join(names)}", color)
            # A node may have said it: further in than the rows above, and no longer than is read.
            lines = why.splitlines()
            more = [f"({len(lines) - MOST_LINES} more lines)"] if len(lines) > MOST_LINES else []
            self._say("\n".join(f"    {line}" for line in [*lines[:MOST_LINES], *more]))


def _titles(preview: bool) -> dict[str, tuple[str, str, int]]:
    """Return for each state its title, its colour, and how many names are shown."""
    every = 100_000
    return {
        "changed": ("would change" if preview else "changed", constants.COLOR_CHANGED, MOST_NAMES),
        "unchanged": ("unchanged", constants.COLOR_OK, MOST_NAMES),
        "not done": ("not done", constants.COLOR_ERROR, MOST_NAMES),
        "held": ("held back", constants.COLOR_WARN, every),
        "refused": ("refused", constants.COLOR_ERROR, every),
        "failed": ("failed", constants.COLOR_ERROR, every),
        "unreachable": ("not reached", constants.COLOR_UNREACHABLE, every),
    }
