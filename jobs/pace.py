"""How much longer or shorter parts take than was predicted, for each class of workers.

The prediction knows pixels and presets, not machines. Two sums for each class, of what was
predicted and of what was spent, put it right. They forget by work, not by time: where the sum
of the predictions would pass :data:`MEMORY`, both shrink in proportion, so that a farm which
slept over night knows its pace in the morning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

import redis

from jobs import redis_scripts
from jobs.keys import Keys

#: Predicted core-seconds that are remembered.
MEMORY: Final = 1800.0

#: Core-seconds of parts that took just as long as predicted, which every class begins with: a
#: few short parts say little.
DOUBT: Final = 30.0


def note(client: redis.Redis, namespace: str, cls: str, predicted: float, spent: float) -> None:
    """Say that a part of so many ``predicted`` core-seconds took ``spent`` seconds of a worker.

    One round trip. Raises redis.RedisError.
    """
    if predicted <= 0 or spent <= 0:
        return
    script = client.register_script(redis_scripts.NOTE_PACE)
    script([Keys(namespace).pace], [cls, repr(predicted), repr(spent), MEMORY])


def paces(client: redis.Redis, namespace: str) -> Mapping[str, float]:
    """Seconds of a worker for a predicted core-second, by class; classes not met yet are left out.

    Raises redis.RedisError.
    """
    found = cast("dict[bytes, bytes]", client.hgetall(Keys(namespace).pace))
    return {cls: pace(*sums) for cls, sums in _sums(found).items()}


def pace(predicted: float, spent: float) -> float:
    """Seconds for a predicted core-second, doubted where little was seen."""
    return (spent + DOUBT) / (predicted + DOUBT)


def _sums(found: Mapping[bytes, bytes]) -> dict[str, tuple[float, float]]:
    named = {name.decode(): float(value) for name, value in found.items()}
    classes = {name.partition("/")[0] for name in named}
    return {
        cls: (named.get(f"{cls}/predicted", 0.0), named.get(f"{cls}/spent", 0.0))
        for cls in sorted(classes)
    }
