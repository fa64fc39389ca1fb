"""`/metrics` as a scraper reads it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import aiohttp
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from src.plugins.alert_manager.processors.alert_processor import AlertProcessor

PREFIX = "alert_manager_"
Labels = dict[str, str]


@dataclass(frozen=True)
class Samples:
    """One scrape; names without `alert_manager_`."""

    metrics: list[Metric] = field(default_factory=list)

    def of(self, name: str, **labels: str) -> list[tuple[Labels, float]]:
        """Labels and values of the samples that have this name and these labels."""
        return [
            (sample.labels, sample.value)
            for metric in self.metrics
            for sample in metric.samples
            if sample.name in (name, PREFIX + name) and labels.items() <= sample.labels.items()
        ]

    def value(self, name: str, **labels: str) -> float:
        """The value of the one sample with this name and these labels; NaN: there is none."""
        found = [value for of, value in self.of(name, **labels) if of == labels]
        return found[0] if found else math.nan

    def names_and_labels(self) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
        """What tells series apart."""
        return {
            (sample.name, tuple(sorted(sample.labels.items())))
            for metric in self.metrics
            for sample in metric.samples
        }

    def names(self) -> set[str]:
        """The names of samples."""
        return {sample.name for metric in self.metrics for sample in metric.samples}

    def families(self) -> set[tuple[str, str, tuple[str, ...]]]:
        """Name, type and labels of each metric, as queries name it."""
        return {
            (
                metric.name + ("_total" if metric.type == "counter" else ""),
                metric.type,
                tuple(sorted({n for sample in metric.samples for n in sample.labels} - {"le"})),
            )
            for metric in self.metrics
        }


def read(text: str) -> Samples:
    return Samples(list(text_string_to_metric_families(text)))


async def scrape(processor: AlertProcessor) -> Samples:
    timeout = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(timeout=timeout) as client:
        url = f"http://127.0.0.1:{processor.puerto}/metrics"
        async with client.get(url) as answer:
            assert answer.status == 200
            return read(await answer.text())
