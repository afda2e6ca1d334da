"""How many replicas there are, and what each may use."""

import math
import re
from typing import Annotated, Any

from pydantic import Field

from spyv4.errors import ConfigError
from spyv4.validation import Count, configuration, require


@configuration
class Shape:
    """Of the application in the cluster.

    Attributes:
        replicas: a number such as `2`, or the least and the most such as `1-8`, between which Ray
            Serve chooses by how busy they are.
        cores: of each, with which it computes, at least 1.
        gpus: of each, such as 0.25 for four to a GPU.
        fronts: processes that hand requests on, at least 1, one a machine at most: as many as there
            are machines, so that what comes in at one is lost with no other.
        busy: what a replica has to do at a time when another one would be started: requests and
            streams; a step of the network takes eight.
    """

    replicas: Annotated[str, Field(pattern=r"^[1-9]\d*(-[1-9]\d*)?$")] = "1"
    cores: Count = 1
    gpus: Annotated[float, Field(ge=0)] = 0.0
    fronts: Count = 1
    busy: Annotated[float, Field(gt=0)] = 8.0

    def __post_init__(self) -> None:
        least, most = self.limits
        require(least <= most, f"replicas must be such as 1-8, not {self.replicas}")

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the most replicas."""
        numbers = [int(number) for number in re.findall(r"\d+", self.replicas)]
        return numbers[0], numbers[-1]

    def scaling(self) -> dict[str, Any]:
        """The number of replicas, as options of a deployment."""
        least, most = self.limits
        if least == most:
            return {"num_replicas": least}
        limits = {"min_replicas": least, "max_replicas": most}
        return {"autoscaling_config": limits | {"target_ongoing_requests": self.busy}}


def cores_each(cores: float, replicas: str) -> int:
    """Cores of a replica where all of a machine are shared out.

    Raises:
        ConfigError: where there are fewer cores than replicas.
    """
    _, most = Shape(replicas=replicas).limits
    each = math.floor(cores / most)
    if each < 1:
        raise ConfigError(f"--replicas must be at most {int(cores)}, one a core, not {replicas}")
    return each
