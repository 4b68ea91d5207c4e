"""What p2p_service does: the differences found, and each of them mended."""

from __future__ import annotations

import os
import shutil
from typing import Any, Dict, List, Mapping

from .p2p_digest import config_digest, filled_files, render_unit, service_wanted
from .p2p_files import (
    check_owner,
    check_writable,
    file_diff,
    is_foretold,
    make_directory,
    mend_file,
    ownership,
    wanted_owner,
)
from .p2p_releases import Drift
from .p2p_services import (
    definition_text,
    definition_wanted,
    for_manager,
    manager_for,
    names_asked,
    release_folder,
    service_drift,
)
from .p2p_systemd import RUNNING_STATES, ServiceError, Systemd, UnitState, process_environment, process_folder

_ON = ("enabled", "enabled-runtime", "outdated")
_PHRASES = {
    "masked": "stop, disable and mask %s",
    "directory": "make the directory %s",
    "file": "write %s",
    "live": "write %s",
    "unit": "write %s",
    "reload": "reload the definition of %s",
    "restart": "restart %s",
}


class Request:
    """One call of the module."""

    def __init__(self, params: Mapping[str, Any], check_mode: bool) -> None:
        self.params, self.check_mode = params, check_mode
        self.name = str(params["name"])
        if "/" in self.name or self.name.endswith(".service"):
            raise ServiceError("name %r: the unit's name without .service" % self.name)
        self.manager = manager_for(params.get("manager") or "auto", place=params.get("place"))
        wanted = service_wanted(params)
        self.wanted = for_manager(wanted, self.manager)
        self.wait = float(params.get("wait_seconds") or 60)
        files = filled_files(params)
        # With the placeholder of its digest.
        self.unit = definition_text(wanted, params.get("unit"), self.manager) or ""
        digest = config_digest(self.unit, files) if self.unit else ""
        # Of what the run makes itself there is no digest yet.
        foretold = any(is_foretold(item.get("content")) for item in files if not item.get("live"))
        self.shown_digest = "(would be known by then)" if foretold else digest
        self.contents = {str(item["path"]): item.get("content") or "" for item in files}
        self.secrets = {str(item["path"]) for item in files if item.get("secret")}
        self.touched = False

    def apply(self) -> Dict[str, Any]:
        """Find the differences and, unless in check mode, mend them.

        Returns:
            The module's answer.

        Raises:
            ServiceError: if the service manager refuses, or the service does not come up.
            ValueError: if a file cannot be written as asked.
        """
        if self.wanted["state"] == "absent":
            return self._remove()
        states = self.manager.states(names_asked(self.wanted))
        drift = service_drift(self.wanted, self.manager, states)
        if not self.wanted["unit_sha256"] and states[self.name].load == "not-found" and not self.check_mode:
            raise ServiceError(
                "%s is not there, and no `unit` was given to make it" % self.manager.unit(self.name)
            )
        answer: Dict[str, Any] = {
            "changed": bool(drift),
            "actions": [self._phrase(item) for item in drift],
            "reasons": [dict(item._asdict()) for item in drift],
            "restarted": any(item.part == "restart" for item in drift),
            "config_digest": self.wanted["config_digest"],
            "diff": self._diffs(drift, states[self.name]) if drift else [],
        }
        if drift and not self.check_mode:
            self.refuse()
            self.touched = True
            self._mend(drift)
        return answer

    def _phrase(self, item: Drift) -> str:
        if item.part == "enabled":
            return ("enable %s" if self.wanted["enabled"] else "disable %s") % item.name
        if item.part == "state":
            return ("stop %s" if self.wanted["state"] == "stopped" else "start %s") % item.name
        if item.part in ("file", "live", "unit", "directory") and item.why.startswith(
            ("mode", "owner", "group")
        ):
            return "mend mode or owner of %s" % item.name
        return _PHRASES[item.part] % item.name

    def refuse(self) -> None:
        """Refuse files and directories that cannot be made as asked, before anything is changed.

        Raises:
            ValueError: naming the path and the remedy.
        """
        for item in self.wanted["files"]:
            check_writable(item)
        for item in self.wanted["directories"]:
            check_owner(item)

    # -- telling ------------------------------------------------------------------------------------

    def _diffs(self, drift: List[Drift], state: UnitState) -> List[Dict[str, str]]:
        changed = {item.name for item in drift if item.part in ("file", "live", "unit", "directory")}
        diffs = []
        for item in self.wanted["directories"]:
            if item["path"] in changed:
                wished = "%s %s:%s" % (item["mode"], *wanted_owner(item["owner"], item["group"]))
                diffs.append(
                    _diff(item["path"] + "/", "%s\n" % (ownership(item["path"]) or "absent"), wished + "\n")
                )
        diffs += [
            file_diff(item, self.contents[item["path"]], item["path"] in self.secrets)
            for item in self.wanted["files"]
            if item["path"] in changed
        ]
        definition = definition_wanted(self.wanted, self.manager)
        if definition and definition["path"] in changed:
            text = render_unit(self.unit, self.shown_digest)
            diffs.append(file_diff(definition, text, secret=False))
        if any(item.part == "enabled" for item in drift) and not isinstance(self.manager, Systemd):
            diffs += self.manager.enable_diffs(self.name, bool(self.wanted["enabled"]))
        before, after = self._state_text(drift, state)
        if before != after:
            diffs.append(_diff(self.manager.unit(self.name), before, after))
        return diffs

    def _state_text(self, drift: List[Drift], state: UnitState) -> "tuple[str, str]":
        environment = process_environment(state.pid) if state.pid else None
        digest = (environment or {}).get("P2P_CONFIG_DIGEST") or "none"
        folder = (process_folder(state.pid) if state.pid else None) or "none"
        parts = {item.part for item in drift}
        before = {
            "enabled": state.enabled or "no",
            "state": state.active or "absent",
            "configuration": digest[:12],
            "runs from": folder,
        }
        after = dict(before)
        if "enabled" in parts:
            after["enabled"] = "enabled" if self.wanted["enabled"] else "disabled"
        if parts & {"state", "restart"}:
            stopped = self.wanted["state"] == "stopped"
            after["state"] = (
                "inactive" if stopped else ("active (restarted)" if "restart" in parts else "active")
            )
            # Without a definition to compare with, it starts with the configuration that it has.
            known = self._short_digest() if self.wanted["config_digest"] else before["configuration"]
            after["configuration"] = "none" if stopped else known
            current = self.wanted["current"]
            if stopped:
                after["runs from"] = "none"
            elif current:
                after["runs from"] = release_folder(current)
        if not self.wanted["current"]:
            before.pop("runs from")
            after.pop("runs from")
        masked = [item for item in drift if item.part == "masked"]
        lines = [
            ["%s: %s" % (item.name, item.why) for item in masked],
            ["%s: masked" % item.name for item in masked],
        ]
        return _text(lines[0], before), _text(lines[1], after)

    def _short_digest(self) -> str:
        return self.shown_digest if self.shown_digest.startswith("(") else self.shown_digest[:12]

    # -- doing --------------------------------------------------------------------------------------

    def _mend(self, drift: List[Drift]) -> None:
        names = {
            part: [item.name for item in drift if item.part == part] for part in {item.part for item in drift}
        }
        if isinstance(self.manager, Systemd):
            for unit in names.get("masked", []):
                self.manager.mask(unit.rsplit(".", 1)[0], self.wait)
        for item in self.wanted["directories"]:
            if item["path"] in names.get("directory", []):
                make_directory(item)
        for item in self.wanted["files"]:
            if item["path"] in names.get("file", []) + names.get("live", []):
                mend_file(item["path"], self.contents[item["path"]].encode("utf-8"), item)
        definition = definition_wanted(self.wanted, self.manager)
        if definition and "unit" in names:
            text = render_unit(self.unit, config_digest(self.unit, self.wanted["files"]))
            mend_file(definition["path"], text.encode("utf-8"), definition)
        if "unit" in names or "reload" in names:
            self.manager.reload()
        if "enabled" in names:
            self.manager.enable(self.name, bool(self.wanted["enabled"]))
        if "state" in names and self.wanted["state"] == "stopped":
            self.manager.stop(self.name, self.wait)
        elif "state" in names or "restart" in names:
            settle = float(self.params.get("settle_seconds") or 0)
            # One that crashes again and again counts as running to systemd: it is stopped first.
            self.manager.bring_up(self.name, True, self.wait, settle)

    # -- removing -----------------------------------------------------------------------------------

    def _remove(self) -> Dict[str, Any]:
        states = self.manager.states(names_asked(self.wanted))
        state, unit = states[self.name], self.manager.unit(self.name)
        path = self.manager.definition_path(self.name)
        actions: List[str] = []
        if state.active in RUNNING_STATES:
            actions.append("stop %s" % unit)
        if state.enabled in _ON:
            actions.append("disable %s" % unit)
        left = [] if isinstance(self.manager, Systemd) else self.manager.leftovers(self.name)
        files = [item["path"] for item in self.wanted["files"] if os.path.lexists(item["path"])]
        paths = ([path] if os.path.lexists(path) else []) + files
        folders = self._removable(files)
        masked = [name for name in self.wanted["masked_units"] if states[name].load == "masked"]
        actions += ["remove %s" % item for item in [*paths, *left, *folders]]
        actions += ["unmask %s" % self.manager.unit(name) for name in masked]
        before = "".join("%s\n" % line for line in actions)
        if actions and not self.check_mode:
            self._do_remove(state, paths, [*left, *folders], masked)
        return {
            "changed": bool(actions),
            "actions": actions,
            "reasons": [],
            "restarted": False,
            "config_digest": None,
            "diff": [_diff(unit, before, "")] if actions else [],
        }

    def _removable(self, files: List[str]) -> List[str]:
        """The directories that go: those that are empty by then, or all of them with `purge`."""
        gone = set(files)
        folders: List[str] = []
        for item in sorted(self.wanted["directories"], key=lambda entry: entry["path"], reverse=True):
            folder = item["path"].rstrip("/")
            if not os.path.isdir(folder) or os.path.islink(folder):
                continue
            if folder.count("/") == 1:
                continue  # never /etc, /var, /opt
            left = [name for name in os.listdir(folder) if os.path.join(folder, name) not in gone]
            if self.params.get("purge") or not left:
                folders.append(folder)
                gone.add(folder)
        return folders

    def _do_remove(self, state: UnitState, paths: List[str], left: List[str], masked: List[str]) -> None:
        # Another manager than systemd may run without its service, or its service without it.
        if state.active in RUNNING_STATES or not isinstance(self.manager, Systemd):
            self.manager.stop(self.name, self.wait)
        if state.enabled in _ON:
            self.manager.enable(self.name, False)
        for path in paths:
            os.unlink(path)
        drop_ins = self.manager.definition_path(self.name) + ".d"
        if os.path.isdir(drop_ins):
            shutil.rmtree(drop_ins)
        for path in left:
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif os.path.lexists(path):
                os.unlink(path)
        self.manager.reload()
        self.manager.forget_failure(self.name)
        if isinstance(self.manager, Systemd):
            for name in masked:
                self.manager.unmask(name)


def _text(lines: List[str], values: Mapping[str, str]) -> str:
    return "".join("%s\n" % line for line in [*lines, *("%s: %s" % pair for pair in values.items())])


def _diff(header: str, before: str, after: str) -> Dict[str, str]:
    return {"before": before, "after": after, "before_header": header, "after_header": header}
