"""The server as an application of Ray Serve: replicas, each a whole server, and a front.

Why each replica's own ring (`detector_app.stream.scheduler`) makes the batches and not
`serve.batch`: it gives up to eight pictures a read in a common step and takes new ones in between
two reads, so that none waits until another has had all of its reads.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayActorError, TaskCancelledError
from ray.serve.exceptions import DeploymentUnavailableError, ReplicaUnavailableError
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from detector_app.cluster.front import Rules, create_front
from detector_app.cluster.leases import LostReplicaError, NoReplicaError
from detector_app.cluster.shape import Shape
from detector_app.settings import Settings, load_settings
from spyv4.files import file_sha256
from spyv4.validation import from_mapping
from spyv4.weights import find_weights

ANYWHERE = "0.0.0.0"  # noqa: S104 - to ask who could reach it
REPLICA, FRONT = "Replica", "Front"
LEASE_S = 20.0
"""How long a request waits for a replica that may take it."""
DRAIN_S = 15.0
"""How long a replica that is to end goes on with what it has; live streams move to another then."""
CHECK_S, CHECK_PATIENCE_S = 2.0, 10.0
"""How often a replica is asked whether it is well, and how long for an answer."""
MANY = 1000
"""Requests and streams that a front has under way."""
QUIET = {"log_level": "WARNING", "enable_access_log": False}
LOST = (RayActorError, ReplicaUnavailableError, TaskCancelledError)


class Replica:
    """A server that Ray Serve starts, asks for its health, and ends.

    Args:
        settings: what to serve.
        weights_sha256: of the weights' file; other weights are another version, which is rolled
            out.
        threads: how many to compute with.
        host: address that the front reaches it by; None for that of its machine.
    """

    def __init__(
        self, settings: Settings, weights_sha256: str, threads: int, host: str | None
    ) -> None:
        # Here, since the process that deploys needs no network.
        from detector_app.cluster.replica import ReplicaServer

        place = host or ray.util.get_node_ip_address()
        self._server = ReplicaServer(settings, weights_sha256, threads, place)

    async def lease(self) -> AsyncIterator[str]:
        """The address, and then nothing until the front cancels.

        So what is under way counts as such in Ray Serve: it goes where little is, more replicas
        start where much is, and none ends before it.
        """
        yield self._server.address
        await asyncio.Event().wait()

    async def address(self) -> str:
        """The address."""
        return self._server.address

    def check_health(self) -> None:
        """Called by Ray Serve, which starts another one where this raises."""
        self._server.check()

    def __del__(self) -> None:
        """Called by Ray Serve at the end."""
        if hasattr(self, "_server"):
            self._server.stop()


class RayLeases:
    """Replicas as Ray Serve chooses them: of two at random the one with less under way.

    Args:
        handle: of their deployment.
    """

    def __init__(self, handle: "DeploymentHandle[Any]") -> None:
        self._leasing = handle.options(method_name="lease", stream=True)
        self._handle = handle

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[str]:
        """Address of a replica, which does not end before the lease does."""
        leased = self._leasing.remote()
        try:
            try:
                async with asyncio.timeout(LEASE_S):
                    address: str = await anext(leased)
            except (TimeoutError, DeploymentUnavailableError):
                raise NoReplicaError from None
            except LOST as error:
                raise LostReplicaError(
                    "the replica that was to look at this is gone; send it again in a second"
                ) from error
            yield address
        finally:
            leased.cancel()

    async def addresses(self) -> list[str]:
        """Of all replicas that are there."""
        said = await self._handle.broadcast("address").results_async(return_exceptions=True)
        return [address for address in said if isinstance(address, str)]


class Front:
    """The front, as Ray Serve starts it.

    Args:
        handle: of the replicas.
        rules: who may use it.
    """

    def __init__(self, handle: "DeploymentHandle[Any]", rules: Rules) -> None:
        self._handle, self._rules = handle, rules

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Called by Ray Serve."""
        return create_front(RayLeases(self._handle), self._rules)


def application(settings: Settings, shape: Shape, host: str | None = None) -> serve.Application:
    """What Ray Serve runs.

    Args:
        settings: of every replica, and who may use the front.
        shape: how many there are.
        host: where replicas listen, which the front reaches; None for the addresses of their
            machines, where others reach them, too.

    Raises:
        ConfigError: where others could use them without a key, unless the settings allow it.
    """
    if host is None:
        replace(settings, host=ANYWHERE).require_guard()
    sha256 = file_sha256(find_weights(settings.weights))
    replica = serve.deployment(Replica).options(
        name=REPLICA,
        **shape.scaling(),
        ray_actor_options={"num_cpus": shape.cores, "num_gpus": shape.gpus},
        # Each refuses by itself what is too much for it, and says when to come back.
        max_ongoing_requests=settings.max_uploads + settings.max_viewers,
        graceful_shutdown_timeout_s=DRAIN_S,
        graceful_shutdown_wait_loop_s=0.2,
        health_check_period_s=CHECK_S,
        health_check_timeout_s=CHECK_PATIENCE_S,
        logging_config=QUIET,
    )
    rules = Rules(
        settings.max_body_bytes, (settings.host, *settings.allowed_host), settings.api_key
    )
    front = serve.deployment(serve.ingress()(Front)).options(
        name=FRONT,
        num_replicas=shape.fronts,
        max_replicas_per_node=1,
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=MANY,
        graceful_shutdown_timeout_s=DRAIN_S,
        health_check_period_s=CHECK_S,
        logging_config=QUIET,
    )
    return front.bind(replica.bind(settings, sha256, shape.cores, host), rules)


def build(arguments: Mapping[str, Any]) -> serve.Application:
    """The application of a config file of Ray Serve (`deploy/serve.yaml`).

    Args:
        arguments: `shape` (see `Shape`) and settings, which variables and a file may say, too.

    Raises:
        ConfigError: for whatever is wrong with them.
    """
    said = dict(arguments)
    shape = from_mapping(Shape, said.pop("shape", {}))
    settings = from_mapping(Settings, said | _said_elsewhere(said))
    return application(settings, shape)


def _said_elsewhere(said: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of variables that the config file does not say, such as the key."""
    usual = Settings()
    loaded = load_settings({})
    return {
        name: getattr(loaded, name)
        for name in Settings.__dataclass_fields__
        if name not in said and getattr(loaded, name) != getattr(usual, name)
    }
