"""A deploy of pyinfra: the files of a node as the roles write them, and the service that reads them.

Run by pyinfra in its own virtual environment; `p2p_bench` of the inventory says what to write.
"""

from __future__ import annotations

from pyinfra import host  # type: ignore[import-not-found]  # in its own virtual environment
from pyinfra.operations import files, systemd  # type: ignore[import-not-found]  # as above

wanted = host.data.p2p_bench
for path in wanted["directories"]:
    files.directory(name=f"{path} is there", path=path, user="root", group="root", mode="755")
written = [
    files.put(
        name=f"{path} is up to date",
        src=source,
        dest=path,
        user="root",
        group="root",
        mode=mode,
    )
    for path, (mode, source) in wanted["files"].items()
]
systemd.service(
    name="The service runs",
    service=wanted["service"],
    running=True,
    enabled=True,
    daemon_reload=any(one.will_change for one in written),
    restarted=any(one.will_change for one in written),
)
