"""A cluster under mutual TLS."""

from pathlib import Path

from tests.integration.orchestrator.certificates import Authority
from tests.integration.orchestrator.cluster import Agent, Cluster, Process


class Secure(Cluster):
    """A cluster in which etcd's clients and all heartbeats carry certificates."""

    def __init__(self, path: Path, voters: int, others: int, **env: str) -> None:
        self.authority = Authority(path / "pki")
        self.engine = Authority(path / "engine")
        self.deny = path / "deny"
        super().__init__(path, voters, others, network=False, P2P_TLS_DENY=str(self.deny), **env)

    def _client(self, name: str) -> str:
        return super()._client(name).replace("http:", "https:")

    def agent(self, name: str, host: str, **env: str) -> Agent:
        files = self.authority.leaf(name, self.addresses[host])
        tls = {f"P2P_TLS_{part}": files[part] for part in ("CA", "CERT", "KEY")}
        if name in self.voters:
            files = self.engine.leaf(name, file=f"agent-{name}")
            tls |= {f"P2P_ETCD_{part}": files[part] for part in ("CA", "CERT", "KEY")}
        return super().agent(name, host, **{**tls, **env})

    def _member(self, name: str) -> Process:
        process = super()._member(name)
        files = self.engine.leaf(name, self.addresses[name])
        process.words += ["--cert-file", files["CERT"], "--key-file", files["KEY"]]
        process.words += ["--trusted-ca-file", files["CA"], "--client-cert-auth"]
        return process
