"""What Ray's agents export for Prometheus, as a scrape finds it."""

from __future__ import annotations

import httpx2
import ray
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


def samples(prefix: str) -> list[Sample]:
    """Those whose names begin so, of the agents of all nodes that live. They lag behind by the seconds between two reports."""
    found = []
    for node in ray.nodes():
        if node["Alive"]:
            text = httpx2.get(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics", timeout=60).text
            families = text_string_to_metric_families(text)
            found += [sample for family in families for sample in family.samples if sample.name.startswith(prefix)]
    return found


def total(found: list[Sample], name: str, **labels: str) -> float:
    """The sum of a metric over the samples with these labels."""
    return sum(one.value for one in found if one.name == name and labels.items() <= one.labels.items())
