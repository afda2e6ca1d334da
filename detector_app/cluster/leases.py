"""What the front knows of replicas: where one is, for as long as something is under way on it."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from detector_app.errors import ServerBusyError
from spyv4.errors import SPYv4Error


class Leases(Protocol):
    """Chooses replicas, the least busy first."""

    def lease(self) -> AbstractAsyncContextManager[str]:
        """Address of a replica, host:port, which does not end before the lease does.

        Raises:
            LostReplicaError: the one that was chosen died; another may be there.
            NoReplicaError: there is none.
        """

    async def addresses(self) -> list[str]:
        """Of all replicas that are there."""


class LostReplicaError(SPYv4Error):
    """A replica died, or ends, before it had answered."""


class NoReplicaError(ServerBusyError):
    """No replica can take anything now."""

    def __init__(self) -> None:
        super().__init__("no replica is there at the moment; send this again in some seconds", 3)
