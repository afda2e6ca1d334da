"""`spyv4-serve --ray`: the application on a cluster of this machine, or on one that runs."""

import logging
import signal
import threading
from dataclasses import replace
from types import FrameType

from detector_app.cluster.connecting import LOOPBACK, Cluster
from detector_app.cluster.shape import Shape, cores_each
from detector_app.serving import listen
from detector_app.settings import Settings
from spyv4.commandline import EXIT_OK

NAME = "spyv4"


def serve_on(cluster: Cluster, settings: Settings, replicas: str) -> int:
    """Serve, or change what is served.

    On a cluster that runs already the application is deployed, or replaced replica by replica where
    it is there, and stays. Else it is served until Ctrl-C.

    Args:
        cluster: where.
        settings: what to serve.
        replicas: how many, such as 2 or 1-8.
    """
    settings.require_guard()
    if cluster.address is None:
        with listen(settings.host, settings.port) as free:
            settings = replace(settings, port=free.getsockname()[1])
    cluster.connect()
    import ray
    from ray import serve

    from detector_app.cluster.deployment import application

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    machines = sum(node["Alive"] for node in ray.nodes())
    cores = cores_each(ray.cluster_resources()["CPU"], replicas)
    shape = Shape(replicas=replicas, cores=cores, fronts=machines)
    http = {"host": settings.host, "port": settings.port}
    location = "HeadOnly" if cluster.address is None else "EveryNode"
    serve.start(proxy_location=location, http_options=http)
    host = LOOPBACK if cluster.address is None else None
    serve.run(application(settings, shape, host), name=NAME, route_prefix="/")
    if cluster.address is not None:
        print(f"{replicas} replicas are deployed; serve status says how they are.", flush=True)
        return EXIT_OK
    url = f"http://{settings.host}:{settings.port}"
    print(f"SPYv4 is at {url} ({replicas} replicas, API: {url}/docs). Ctrl-C ends it.", flush=True)
    _wait()
    serve.shutdown()
    ray.shutdown()
    return EXIT_OK


def _wait() -> None:
    """Until Ctrl-C or SIGTERM."""
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    ended.wait()
