"""What a stranger's machine may put in the place of a value.

`CANARY` stands for the path of a file that must not exist after a run: what is taken as a command makes it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

CANARY = "@CANARY@"
ESC, BEL, CSI = "\x1b", "\x07", "\x9b"
OTHER = "hetzner-v0"


class Raw(NamedTuple):
    """Text that stands in a document as it is, JSON or not."""

    text: str


TYPES: dict[str, Any] = {
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "negative": -1,
    "fraction": 1.5,
    "empty text": "",
    "text": "x",
    "a list": [],
    "an object": {},
    "a list of lists": [[[]]],
    "an object of objects": {"a": {"b": 1}},
}
NUMBERS: dict[str, Any] = {
    "NaN": Raw("NaN"),
    "Infinity": Raw("Infinity"),
    "-Infinity": Raw("-Infinity"),
    "1e999": Raw("1e999"),
    "-0": Raw("-0"),
    "10^400": Raw("1" + "0" * 400),
    "10^5000": Raw("1" + "0" * 5000),
    "2^63": 1 << 63,
    "1e300": 1e300,
    "-1e300": -1e300,
    "number as text": "7",
}
NESTED: dict[str, Any] = {
    "100,000 lists": Raw("[" * 100_000 + "]" * 100_000),
    "900 lists": Raw("[" * 900 + "]" * 900),
    "20,000 objects": Raw('{"a":' * 20_000 + "1" + "}" * 20_000),
    "a list without end": Raw("[" * 100_000),
}
TEXTS = {
    "NUL": "a\0b",
    "control characters": "".join(map(chr, [*range(32), 127, *range(128, 160)])),
    "colour": f"{ESC}[31;1mred{ESC}[0m{ESC}[2J{ESC}[H",
    "CSI of eight bits": f"{CSI}31m",
    "title": f"{ESC}]0;mine{BEL}",
    "hyperlink": f"{ESC}]8;;http://192.0.2.1/{ESC}\\click{ESC}]8;;{ESC}\\",
    "clipboard": f"{ESC}]52;c;dG91Y2g={BEL}",
    "end of a paste": f"{ESC}[201~\ntouch {CANARY}\n",
    "bidi": "abc\u202egnp.exe\u202c\u2066x\u2069\u200f",
    "invisible": "a\u200b\u00ad\ufeff\u2028\u2029\u0085b",
    "lone surrogate": "a\ud800b",
    "carriage return": "all is well\rnothing to see",
    "script": "<script>document.title='mine'</script>",
    "image with code": '"><img src=x onerror="document.title=1"><svg/onload=alert(1)>',
    "end of an attribute": "' onmouseover='x' style=\"position:fixed\" data-x=\"",
    "end of a comment": "--></code></td></table><a href=javascript:alert(1)>x</a><!--",
    "Markdown link": "[update now](http://192.0.2.1/) ![](http://192.0.2.1/a.png) <http://192.0.2.1/> http://192.0.2.1/",
    "Markdown table": "| a | b |\n|---|---|\n# Title\n```\n[x]: http://192.0.2.1/\n[x]",
    "shell quote": f"1'; touch {CANARY}; : '",
    "shell quotes": f'1"; touch {CANARY}; : "',
    "shell substitution": f"$(touch {CANARY})`touch {CANARY}`",
    "shell line": f"x\ntouch {CANARY}\n!touch {CANARY}\n",
    "sftp line": f"\\'\" \n!touch {CANARY}\n",
    "option": "-oProxyCommand=touch " + CANARY,
    "Jinja": f"{{{{ lookup('ansible.builtin.pipe', 'touch {CANARY}') }}}}",
    "Jinja statement": "{% for i in range(9) %}{{ i }}{% endfor %}{# x #}",
    "Jinja of variables": "{{ hostvars | string }}{{ p2p_identity_passphrase }}",
    "YAML tag": f"!!python/object/apply:os.system ['touch {CANARY}']",
    "unsafe tag": "!unsafe '{{ x }}'",
    "path upwards": "../../../../x",
    "path of passwords": "/etc/shadow",
    "path of a key": "~/.ssh/id_cluster",
    "path with a line": f"/opt/a\n!touch {CANARY}\n",
    "another node": OTHER,
    "metric": 'x"} 1\np2p_cluster_healthy{a="b"} 1\n# HELP x y\n\\',
    "many digits": "2." + "0" * 3_000_000,
    "a megabyte": "a" * (1 << 20),
}
LISTS: dict[str, Any] = {
    "200,000 numbers": list(range(200_000)),
    "5,000 texts": ["x" * 50] * 5_000,
    "20,000 keys": {f"k{index}": index for index in range(20_000)},
}
VALUES: dict[str, Any] = {**TYPES, **NUMBERS, **NESTED, **TEXTS, **LISTS}
PROXY = f"-o ProxyCommand='touch {CANARY}'"
CONNECTION = {
    "ansible_ssh_common_args": PROXY,
    "ansible_ssh_args": PROXY,
    "ansible_ssh_executable": CANARY,
    "ansible_connection": "local",
    "ansible_host": "127.0.0.1",
    "ansible_python_interpreter": f"sh -c 'touch {CANARY}'",
    "discovered_interpreter_python": f"sh -c 'touch {CANARY}'",
    "ansible_become": True,
    "ansible_become_exe": f"touch {CANARY};",
    "ansible_shell_executable": f"touch {CANARY};",
    "p2p_outcome": {"state": "changed", "why": ""},
    "p2p_voters": ["mine"],
    "p2p_accept_outage": True,
}
# Keys at the top of a result that Ansible itself obeys, or shows.
CONTROL: dict[str, Any] = {
    "add_host": {"host_name": OTHER, "host_vars": CONNECTION, "groups": ["voters", "all"]},
    "add_group": "voters",
    "parent_groups": ["all"],
    "ansible_facts": CONNECTION,
    "_ansible_facts": CONNECTION,
    "_ansible_delegated_vars": {"ansible_host": OTHER, "ansible_delegated_host": OTHER},
    "ansible_delegated_vars": {OTHER: CONNECTION},
    "_ansible_verbose_always": True,
    "_ansible_no_log": False,
    "_ansible_item_result": True,
    "_ansible_notify": ["x"],
    "exception": f"Traceback (most recent call last):\n{ESC}[31m",
    "warnings": [f"{ESC}]0;mine{BEL}all is well", 7, {"msg": []}],
    "deprecations": [{"msg": f"{ESC}[2J", "version": [], "collection_name": 7}, "x", 7],
    "diff": [{"before": f"{ESC}[2J", "after": 7, "before_header": [], "prepared": {}}, 7],
    "invocation": {"module_args": {"_raw_params": f"{ESC}[2J"}},
    "results": [{"failed": True, "item": OTHER, "msg": f"{ESC}[2J"}, 7],
    "failed": "no",
    "unreachable": True,
    "skipped": True,
    "changed": {"a": 1},
    "rc": "x",
    "stdout": f"{ESC}[2J",
    "stderr": f"{ESC}[2J",
    "msg": [f"{ESC}[2J", {"a": 1}],
    "attempts": "x",
    "retries": [],
    "item": OTHER,
    "actions": [f"restart {ESC}[2J", 7, {"a": 1}],
    "__ansible_type": "AnsibleUnsafeText",
    "__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256\n00",
    "__ansible_unsafe": f"{{{{ lookup('ansible.builtin.pipe', 'touch {CANARY}') }}}}",
    "add_host_and_ansible_facts": {"add_host": {"host_name": "new"}},
    "ansible_stats": {"data": {"a": 1}, "per_host": False},
    "include": f"{CANARY}.yml",
    "include_variables": CONNECTION,
    "untrusted": False,
}
# What Ansible reads without a look at its type, and what this project's output does.
MISSHAPEN: dict[str, Any] = {
    "numbers": dict.fromkeys([*CONTROL, "verdict", "p2p_plan"], 7),
    "texts": dict.fromkeys([*CONTROL, "verdict", "p2p_plan"], f"{ESC}[2J"),
    "lists": {key: [[], {"a": [1]}, 7] for key in [*CONTROL, "verdict", "p2p_plan"]},
    "statistics": {"ansible_stats": 7},
    "a plan": {"ansible_facts": {"p2p_plan": {"refused": {OTHER: "mine", "not-a-node": "mine"}}}},
    "a verdict": {"verdict": "ok"},
    "phrases": {"actions": [{"a": 1}, 7]},
}
# Ansible's own types in the documents that its modules print.
TAGGED = {
    "trusted template": {
        "__ansible_type": "_AnsibleTaggedStr",
        "value": f"{{{{ lookup('ansible.builtin.pipe', 'touch {CANARY}') }}}}",
        "tags": [{"__ansible_type": "TrustedAsTemplate"}],
    },
    "event": {"__ansible_type": "ErrorSummary", "event": {"__ansible_type": "Event", "msg": f"{ESC}[2J"}},
    "date": {"__ansible_type": "datetime", "iso8601": "x"},
}
