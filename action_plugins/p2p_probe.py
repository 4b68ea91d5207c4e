"""Action plugin: runs the module p2p_probe in one command a node, without Ansible's own module code.

That code is unpacked and compiled on the node at every call, which costs it several times what the probe
does, and the search for an interpreter is a command of its own. Whatever gives no probe this way, such as an
interpreter that is too old or found through the login's own PATH alone, is left to the module, which answers
or tells why not.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import json
import marshal
import re
import shlex
import subprocess
import zlib
from collections.abc import Mapping
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from ansible import constants
from ansible._internal._templating._engine import TemplateEngine, TemplateOptions
from ansible._internal._templating._lazy_containers import _AnsibleLazyTemplateMixin
from ansible._internal._templating._utils import TemplateContext
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection import ConnectionBase
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.action import Door
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.read import (
    MESSAGE,
    UntrustedError,
    decoded,
    interpreter,
    probe,
    result,
    untrusted,
)
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.texts import block

PARTS = Path(__file__).resolve().parent.parent / "module_utils"
_IMPORT = re.compile(r"^\s*from \.(p2p_\w+) import", re.MULTILINE)
_UNSENT = re.compile(
    r"^Data could not be sent to remote host \S+ Make sure this host can be reached over ssh: "
)
_DISCOVERED = "discovered_interpreter_python"
_END_SECONDS = 1.0
# Marks the answer among what a login may print.
_MARK = "p2p-probe:"
# The node runs the compiled program if its interpreter is of this controller's version, otherwise the texts:
# compiling them would cost it more than the probe does.
_START = (
    "import sys,zlib,_frozen_importlib_external as f;sys.version_info>=(3,8) or sys.exit(3);"
    "h,_,b=sys.stdin.buffer.read().partition(b'\\n');m,c,t=h.split();c=int(c);t=c+int(t);"
    f"print('{_MARK}'+sys.executable);n={{'__name__':'alone'}};"
    "z=lambda x:__import__('marshal').loads(zlib.decompress(x));"
    "d=z(b[:c]) if m.decode()==f.MAGIC_NUMBER.hex() else z(b[c:t]);"
    "exec(d.pop('p2p_probe_alone'),n);n['main'](d,b[t:])"
)
# The oldest format that knows all types of the texts; every Python reads it.
_FORMAT = 2


def _let_ssh_end(connection: ConnectionBase) -> None:
    """Give an ssh that hung up the time to end and say why.

    Ansible gives it 1 ms, which a busy controller does not keep; the reason is lost then, and a dead node
    costs its timeout twice.
    """
    send = getattr(connection, "_send_initial_data", None)
    if send is None or "_send_initial_data" in vars(connection):
        return

    def patient(pipe: io.IOBase, data: bytes, process: subprocess.Popen[bytes]) -> None:
        try:
            send(pipe, data, process)
        except AnsibleConnectionFailure:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)
            if process.returncode is None:
                raise

    vars(connection)["_send_initial_data"] = patient


@functools.cache
def _spec() -> dict[str, dict[str, Any]]:
    """Return the module's options, with paths as they are given: `~` is the node's."""
    return {
        name: {
            key: "str" if (key, value) in (("type", "path"), ("elements", "path")) else value
            for key, value in option.items()
        }
        for name, option in _options().OPTIONS.items()
    }


def _options() -> ModuleType:
    path = PARTS / "p2p_probe_options.py"
    spec = importlib.util.spec_from_file_location("p2p_probe_options_shared", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def texts(*names: str) -> dict[str, str]:
    """Return the texts of modules and of all that they import, by name."""
    found: dict[str, str] = {}
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = (PARTS / f"{name}.py").read_text(encoding="utf-8")
            todo += _IMPORT.findall(found[name])
    return found


@functools.cache
def program() -> bytes:
    """Return the probe as nodes get it: a line with version and lengths, then compiled, then as texts."""
    found = texts("p2p_probe_alone", "p2p_probe_options", "p2p_probe_parts")
    # As Python keeps them beside their sources.
    compiled = {name: SourceFileLoader(name, str(PARTS / f"{name}.py")).get_code(name) for name in found}
    parts = zlib.compress(marshal.dumps(compiled)), zlib.compress(marshal.dumps(found, _FORMAT))
    head = f"{importlib.util.MAGIC_NUMBER.hex()} {len(parts[0])} {len(parts[1])}\n"
    return head.encode() + b"".join(parts)


def payload(params: Mapping[str, Any]) -> bytes:
    """Return what the node's interpreter reads: the program and its options."""
    return program() + json.dumps(params).encode()


def command(interpreters: list[str]) -> str:
    """Return the shell command that runs the program with the first interpreter that is there."""
    start = shlex.quote(_START)
    names = " ".join(map(shlex.quote, interpreters))
    return (
        f'for p in {names}; do command -v "$p" >/dev/null 2>&1 && exec "$p" -I -S -c {start}; done; exit 127'
    )


def parsed(output: str) -> tuple[str, str] | None:
    """Return the interpreter and the answer in what a node printed, or None if it printed none."""
    before, mark, rest = output.partition(_MARK)
    interpreter, _, answer = rest.partition("\n")
    if not mark or (before and not before.endswith("\n")):
        return None
    return interpreter, answer.partition("\n")[0]


class ActionModule(Door):
    """Runs p2p_probe."""

    MODULE = "p2p_probe"
    # Who asks many nodes makes it before the first: threads that ask at a time would each make one.
    program = staticmethod(program)

    @classmethod
    def finalize_task_arg(
        cls, _name: str, value: object, templar: TemplateEngine, _context: object
    ) -> object:
        """Render an argument, each variable once: Ansible by itself renders one at every mention."""
        known = templar.available_variables
        if type(known) is dict:
            with TemplateContext(
                template_value=value, templar=templar, options=TemplateOptions.DEFAULT, stop_on_template=False
            ):
                templar.available_variables = _AnsibleLazyTemplateMixin._try_create(known)
        return templar.template(value)

    def answer(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Run the module.

        Returns:
            What p2p_probe documents; of an answer that does not fit, `untrusted` and why.
        """
        params = self.validate_argument_spec(argument_spec=_spec())[1]
        interpreters = self._interpreters(variables)
        try:
            raw = self._quickly(interpreters, params) if interpreters else None
            if raw is None:
                raw = self.raw(self._task.args, variables)
            if "probe" not in raw:
                return result(self.MODULE, raw)
            return {"changed": False, "probe": probe(raw["probe"], params)} | interpreter(raw)
        except UntrustedError as error:
            return untrusted(error)

    def _interpreters(self, variables: Mapping[str, Any]) -> list[str]:
        """Return the interpreters to try, none if this way is not open."""
        if not self._connection.is_pipelining_enabled() or self._task.environment not in (None, [], [{}]):
            return []
        about = variables
        if self._task.delegate_to:
            about = variables.get("ansible_delegated_vars", {}).get(self._task.delegate_to, {})
        configured = constants.config.get_config_value("INTERPRETER_PYTHON", variables=about)
        wish = str(self._templar.template(configured) or "auto").strip()
        if not wish.startswith("auto"):
            return [] if re.search(r"\s", wish) else [wish]
        known = (about.get("ansible_facts") or {}).get(_DISCOVERED)
        if known:
            return [str(known)]
        return list(constants.config.get_config_value("INTERPRETER_PYTHON_FALLBACK", variables=about))

    def _quickly(self, interpreters: list[str], params: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Run the probe in one command; None if that gave no answer.

        Raises:
            UntrustedError: what it gave is no JSON.
        """
        _let_ssh_end(self._connection)
        try:
            done = self._low_level_execute_command(command(interpreters), in_data=payload(params))
        except AnsibleConnectionFailure as error:
            if isinstance(error.__cause__, BrokenPipeError) or "mux_client_" in error.message:
                # Either ssh closed its input while Ansible still wrote, and lives on, or a kept connection
                # turned out to be dead, which is no reason: a login of its own tells why.
                self._low_level_execute_command("exit 0")
                return None
            # Which of two messages it is depends on whether ssh ended before it was given the program.
            said = _UNSENT.sub("Failed to connect to the host via ssh: ", error.message)
            raise AnsibleConnectionFailure(block(said, MESSAGE)) from None
        found = parsed(done["stdout"]) if done["rc"] == 0 else None
        if found is None:
            return None
        answer = decoded(found[1])
        if not isinstance(answer, dict):
            raise UntrustedError("it is no object")
        told: dict[str, Any] = {"probe": answer.get("probe")}
        if len(interpreters) > 1 and not self._task.delegate_to:
            told["ansible_facts"] = {_DISCOVERED: found[0]}
        return told
