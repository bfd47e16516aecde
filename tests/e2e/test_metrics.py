"""A film goes through a farm as its users run it, and the metrics tell of it exactly."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from jobs.metrics import METRICS
from tests.e2e.conftest import MakeClip
from tests.e2e.farm_process import READY, Farm, eventually
from tests.numbered import ClipSpec
from tests.promql import selectors

ROOT = Path(__file__).resolve().parents[2]
CLIP = ClipSpec(frames=200)

#: Seconds after which every process has sent what it counted: a heartbeat, and some.
SENT = 6.0

Scrape = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def test_a_film_is_counted_exactly(farm: Farm, clip: MakeClip) -> None:
    file = clip("counted", CLIP).path
    await_silence(farm)
    before = scraped(farm)
    video_id = farm.process(file)["id"]
    plan, record = farm.plan(video_id), farm.record(video_id)
    parts = Counter(part.kind.value for part in plan.parts) + Counter(["inspect"])

    def made() -> Counter[str]:
        return grown(farm, before, "reelfarm_part_duration_seconds_count", "kind", outcome="made")

    eventually(lambda: made() == parts, READY, lambda: (made(), parts))
    eventually(lambda: sum(grown(farm, before, ENDED, "state").values()) == 1, READY)
    now = scraped(farm)
    assert made() == parts
    assert difference(before, now, ENDED, "state") == {"ready": 1}
    assert difference(before, now, "reelfarm_videos_accepted_total") == {"": 1}
    assert difference(before, now, "reelfarm_uploaded_bytes_total") == {"": file.stat().st_size}
    assert not difference(before, now, "reelfarm_part_retries_total", "kind")
    assert not difference(before, now, "reelfarm_lease_expiries_total")
    waits = difference(before, now, "reelfarm_queue_wait_seconds_count", "queue")
    assert sum(waits.values()) == parts.total()
    speeds = difference(before, now, "reelfarm_encode_speed_ratio_count", "codec")
    assert speeds == {"h264": parts["video"], "aac": parts["audio"]}
    assert record.ready_at is not None
    assert record.playable_at is not None
    for name, at in (("ready", record.ready_at), ("playable", record.playable_at)):
        count = difference(before, now, f"reelfarm_time_to_{name}_seconds_count")
        total = difference(before, now, f"reelfarm_time_to_{name}_seconds_sum")
        assert count == {"": 1}
        assert total[""] == pytest.approx((at - record.created_at).total_seconds(), abs=0.001)
    for state in ("waiting", "in_flight", "retrying", "dead"):
        assert value(now, "reelfarm_parts", state=state) == 0
    assert all(depth == 0 for depth in values(now, "reelfarm_queue_depth", "queue").values())
    busy = difference(before, now, "reelfarm_worker_busy_seconds_total", "pool")
    there = values(now, "reelfarm_worker_seconds_total", "pool")
    assert 0 < sum(busy.values()) < sum(there.values())
    assert value(now, "reelfarm_pool_workers", pool="cpu") >= 1
    assert "PutObject" in difference(
        before, now, "reelfarm_s3_request_duration_seconds_count", "operation"
    )


def test_rules_and_dashboard_name_what_a_scrape_has(farm: Farm) -> None:
    text = scrape(farm)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    there = {metric.name for metric in METRICS}
    told = {
        f"{name}_total" if family.type == "counter" and not name.endswith("_total") else name
        for name, family in families.items()
    }
    assert told == there
    labels: dict[str, set[str]] = {}
    for family in families.values():
        for sample in family.samples:
            labels.setdefault(sample.name, {"job", "instance", "pod"}).update(sample.labels)
    for expression in expressions():
        for name, picked in selectors(expression):
            assert re.sub("_(bucket|sum|count)$", "", name) in there, name
            # What has not happened yet has no series.
            assert name not in labels or picked <= labels[name], expression


def expressions() -> list[str]:
    """Of the rules and of the dashboard."""
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text(encoding="utf-8"))
    board = json.loads((ROOT / "deploy/grafana/reelfarm.json").read_text(encoding="utf-8"))
    found = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    found += [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    return [each.replace("$__rate_interval", "1m").replace("$job", "reelfarm") for each in found]


ENDED = "reelfarm_videos_ended_total"


def await_silence(farm: Farm) -> None:
    """Wait until everything that earlier tests had counted has been sent."""

    def silent() -> bool:
        lines = farm.log.read_text(errors="replace").splitlines()
        ends = [line for line in lines if '"part_ended"' in line or '"part_started"' in line]
        if not ends:
            return True
        last = datetime.fromisoformat(json.loads(ends[-1])["timestamp"])
        return (datetime.now(UTC) - last).total_seconds() > SENT

    eventually(silent, READY)


def scrape(farm: Farm) -> str:
    return farm.client.fetch("/metrics").text


def scraped(farm: Farm) -> Scrape:
    time.sleep(1.1)  # what was told a moment ago is told again
    families = text_string_to_metric_families(scrape(farm))
    samples = [sample for family in families for sample in family.samples]
    return {(each.name, frozenset(each.labels.items())): each.value for each in samples}


def values(found: Scrape, name: str, label: str = "", **labels: str) -> Counter[str]:
    """The samples of that name and labels, added up by one label."""
    sums: Counter[str] = Counter()
    for (each, own), amount in found.items():
        if each == name and frozenset(labels.items()) <= own:
            sums[dict(own).get(label, "")] += amount  # type: ignore[assignment]
    return sums


def value(found: Scrape, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def difference(
    before: Scrape, now: Scrape, name: str, label: str = "", **labels: str
) -> dict[str, float]:
    """What was added to each."""
    old, new = values(before, name, label, **labels), values(now, name, label, **labels)
    return {key: new[key] - old[key] for key in new if new[key] != old[key]}


def grown(farm: Farm, before: Scrape, name: str, label: str, **labels: str) -> Counter[str]:
    return Counter(difference(before, scraped(farm), name, label, **labels))
