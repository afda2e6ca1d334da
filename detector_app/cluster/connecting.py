"""The Ray cluster that is used: one of this machine alone, or one that runs already."""

import logging
import os
from dataclasses import dataclass

from spyv4.extras import require_extra

LOOPBACK = "127.0.0.1"
VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray tells its makers nothing
    "RAY_DEDUP_LOGS": "0",  # a line said by all is said by all
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # or a warning at every start
}
"""What Ray reads when it is imported; whoever has set one keeps it."""


def require_ray() -> None:
    """Raise `RuntimeUnavailableError` unless the `ray` extra is installed."""
    require_extra("ray", "several processes and machines")


@dataclass(frozen=True)
class Cluster:
    """Where work goes.

    Attributes:
        address: of a cluster that runs (`auto` for the one of this machine, or host:port); None
            for one that starts here, which only this machine reaches, and ends with the process.
    """

    address: str | None = None

    def connect(self) -> None:
        """Start Ray or join it; does nothing where that was done.

        Raises:
            RuntimeUnavailableError: if Ray is not installed.
            ConnectionError: if there is no cluster at the address.
        """
        require_ray()
        for name, value in VARIABLES.items():
            os.environ.setdefault(name, value)
        import ray

        if ray.is_initialized():
            return
        if self.address is not None:
            ray.init(address=self.address, logging_level=logging.WARNING)
            return
        ray.init(
            address="local",
            _node_ip_address=LOOPBACK,
            include_dashboard=False,
            logging_level=logging.WARNING,
        )
