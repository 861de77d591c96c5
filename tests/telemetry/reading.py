"""Reads metrics as Prometheus does."""

from prometheus_client.parser import text_string_to_metric_families

from bide.runtime.service import Service

Sample = tuple[str, frozenset[tuple[str, str]]]


class Metrics(dict[Sample, float]):
    """Samples by name and labels."""

    @classmethod
    def parse(cls, text: str) -> "Metrics":
        return cls(
            {
                (sample.name, frozenset(sample.labels.items())): sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }
        )

    def of(self, metric: str, **labels: str) -> float:
        """The sum of a metric over every series that has these labels."""
        wanted = labels.items()
        return sum(value for (name, has), value in self.items() if name == metric and wanted <= has)

    def values_of(self, label: str) -> set[str]:
        """Every value that a label has anywhere."""
        return {value for _, labels in self for name, value in labels if name == label}


async def metrics_of(service: Service) -> Metrics:
    """What an app shows now."""
    shown = await service.metrics()
    assert shown is not None
    return Metrics.parse(shown[0].decode())
