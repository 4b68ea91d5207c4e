"""The command: settings, dependencies, exit codes."""

import importlib.util
import os
import sys
from collections.abc import Sequence

from p2p_orchestrator.errors import Exit, StartError

PACKAGES = {
    "aiohttp": "aiohttp",
    "psutil": "psutil",
    "yaml": "PyYAML",
    "prometheus_client": "prometheus-client",
}


def _require_packages() -> None:
    missing = [name for module, name in PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        names = " ".join(missing)
        raise StartError(
            Exit.DEPENDENCY,
            f"missing Python package{'s' * (len(missing) > 1)}: {', '.join(missing)}; "
            f"install with: {sys.executable} -m pip install {names}",
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code.

    Args:
        argv: The command line, without the program's name; the process's own if None.
    """
    # Only what needs no package is imported before the packages are known to be there.
    from p2p_orchestrator.config import load, parser  # noqa: PLC0415

    arguments = sys.argv[1:] if argv is None else argv
    try:
        parser().parse_args(arguments)
        _require_packages()
        from p2p_orchestrator.agent import run  # noqa: PLC0415
        from p2p_orchestrator.settings import SettingsFile  # noqa: PLC0415

        config = load(arguments, os.environ)
        file = config.settings_file
        run(config, SettingsFile(file, arguments, os.environ) if file is not None else None)
    except StartError as error:
        print(f"p2p_orchestrator: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return Exit.OK
    return Exit.OK
