"""Why a node gave no probe, read out of what SSH and Ansible say."""

from __future__ import annotations

import re

from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.why import without_advice

from . import remedy
from .adapter import Observation
from .model import Finding, Fleet, Host

LONGEST = 160
# The first pattern that matches wins. The words are OpenSSH's, sudo's and Ansible's.
_AUTH = re.compile(
    r"permission denied|authentication fail|too many authentication|no supported authentication|"
    r"sign_and_send_pubkey|bad permissions|incorrect sudo password|missing sudo password|"
    r"sudo: a password is required|load key",
    re.IGNORECASE,
)
_KEY = re.compile(r"host identification has changed|host key verification failed|offending", re.IGNORECASE)
_PYTHON = re.compile(
    r"module interpreter .* was not found|python[\d.]*: (?:command )?not found|no python interpreter|"
    r"python[\d.]*: no such file|requires? python|ansible-core requires a minimum|SyntaxError",
    re.IGNORECASE,
)
_SLOW = re.compile(r"timed out after \d+ second", re.IGNORECASE)
# What is said before the reason, and lines that hold none.
_PREFIX = re.compile(
    r"^(?:task failed: |action failed: |connection failed: |failed to connect to the host via ssh: "
    r"|data could not be sent to remote host \S+ make sure this host can be reached over ssh: )+",
    re.IGNORECASE,
)
_NOISE = re.compile(r"^(?:warning:|debug\d|\*\*|@|traceback|\(traceback|shared connection)", re.IGNORECASE)


def reason(text: str) -> str:
    """Return the line of an error text that tells most, cut to LONGEST, without Ansible's prefixes."""
    lines = [_PREFIX.sub("", line.strip()) for line in without_advice(text).splitlines()]
    told = [line for line in lines if line and not _NOISE.match(line)]
    named = [line for line in told if _KEY.search(line) or _AUTH.search(line) or _PYTHON.search(line)]
    line = (named or told or ["no answer"])[0]
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def unreached(seen: Observation, host: Host, fleet: Fleet) -> Finding:
    """Return the finding about a node that gave no probe, or none that can be believed."""
    if seen.untrusted:
        told = (
            f"it answers what no probe answers, and nothing of it is believed: {reason(seen.refusal)};"
            " a deploy leaves it alone until it answers well; if what runs there does not explain it:"
            f" remove.yml --limit {host.name}, and another machine"
        )
        # What the node shows then is text as well, for the terminal of who pastes the command.
        look = f"{remedy.on(host, 'uptime; who; ps -ef')} 2>&1 | cat -v"
        return Finding("untrusted_answer", told, look)
    return _no_answer(seen, host, fleet)


def _no_answer(seen: Observation, host: Host, fleet: Fleet) -> Finding:
    text, why = seen.refusal, reason(seen.refusal)
    log_in, look = f"{host.ssh} true", remedy.on(host, "uptime; df -h /")
    # ssh's words, or those of a program on the node that ends with ssh's 255: they cannot be told apart. So a
    # person compares keys first, and the command is for this node's key alone, whatever the text says.
    if seen.unreachable and _KEY.search(text):
        told = (
            "its SSH host key is not the known one, or the node only says so:"
            f" compare it with the provider's before it is forgotten: {why}"
        )
        return Finding("host_key_changed", told, host.forget_key)
    if _AUTH.search(text):
        return Finding("auth_failed", f"{why} (ssh_user, ssh_key in {fleet.file})", log_in)
    if seen.unreachable:
        return Finding("unreachable", why, log_in)
    if _PYTHON.search(text):
        install = remedy.on(host, "sudo apt-get install -y python3")
        return Finding("no_python", f"Python 3.8 or newer is needed: {why}", install)
    if _SLOW.search(text):
        return Finding("not_responding", f"the probe had no answer in time: {why}", look)
    return Finding("not_responding", f"the probe failed: {why}", look)
