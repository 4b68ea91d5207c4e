"""The one door for what a node says: what does not fit its closed schema goes no further.

`read` has the two functions that the plugins call. `probe` and `results` are the schemas, made of the types
in `words`; `texts` cleans what they hold; `action` runs a module behind the door, `fetch` brings a file.
"""

from __future__ import annotations

from ansible.errors import AnsibleError

try:
    import msgspec  # noqa: F401  # named here, like the next, for who updates a checkout and not what it needs
    import uv  # noqa: F401
except ImportError as missing:
    raise AnsibleError(
        f"{missing}: the virtual environment is older than this checkout. `make venv` makes it anew; one of"
        " your own needs `pip install -r requirements/runtime.txt`."
    ) from None
