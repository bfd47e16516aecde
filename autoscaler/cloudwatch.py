"""Publishes what an Auto Scaling group needs to scale a pool by itself, to CloudWatch.

Target tracking keeps a figure near its target by changing the size of a group, so the figure has
to fall as the group grows: seconds of work for each worker is one. Its target is the pool's target
drain time. A group of no machine has no such figure; from there, the count that the policy wants
is what an alarm can begin by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from autoscaler.scaler import ScaledPool

if TYPE_CHECKING:
    from types_boto3_cloudwatch.literals import StandardUnitType
    from types_boto3_cloudwatch.type_defs import DimensionTypeDef, MetricDatumTypeDef

_LOG = structlog.get_logger(__name__)

#: Metrics of one call, of which CloudWatch takes a thousand.
_BATCH: Final = 500

_FIX: Final = "Check the credentials, their cloudwatch:PutMetricData, and the region."


class CloudWatch(Protocol):
    """The one call that is used of boto3's client; the permission is cloudwatch:PutMetricData."""

    def put_metric_data(
        self,
        *,
        Namespace: str,  # noqa: N803 - the API's names
        MetricData: Sequence[MetricDatumTypeDef],  # noqa: N803
    ) -> object: ...


@dataclass(frozen=True, slots=True)
class Publisher:
    """Publishes in ``namespace``, for each pool of the farm of that name."""

    client: CloudWatch
    namespace: str
    farm: str

    def publish(self, scaled: Sequence[ScaledPool], actual: dict[str, int], at: datetime) -> bool:
        """Publish what was seen and decided; False, and a line in the log, where it failed."""
        data = [
            datum for pool in scaled for datum in figures(pool, actual[pool.name], self.farm, at)
        ]
        try:
            for first in range(0, len(data), _BATCH):
                self.client.put_metric_data(
                    Namespace=self.namespace, MetricData=data[first : first + _BATCH]
                )
        except (BotoCoreError, ClientError) as error:
            _LOG.error("metrics_not_published", error=str(error), fix=_FIX)
            return False
        return True


def figures(scaled: ScaledPool, actual: int, farm: str, at: datetime) -> list[MetricDatumTypeDef]:
    """The figures of a pool of which there are ``actual`` workers."""
    demand = scaled.demand
    seconds = {
        "BacklogPerWorker": demand.work / max(1, actual),
        "BacklogSeconds": demand.work,
        "OldestWaiting": demand.oldest,
    }
    counts = {
        "DesiredWorkers": scaled.decision.count,
        "Workers": actual,
        "WaitingParts": demand.waiting,
    }
    dimensions: list[DimensionTypeDef] = [
        {"Name": "Farm", "Value": farm},
        {"Name": "Pool", "Value": scaled.name},
    ]

    def datum(name: str, value: float, unit: StandardUnitType) -> MetricDatumTypeDef:
        return {
            "MetricName": name,
            "Dimensions": dimensions,
            "Timestamp": at,
            "Value": value,
            "Unit": unit,
        }

    timed = [datum(name, value, "Seconds") for name, value in seconds.items()]
    return timed + [datum(name, value, "Count") for name, value in counts.items()]
