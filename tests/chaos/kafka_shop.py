"""What workers do while brokers and they themselves are killed: one question a row, over Kafka."""

from collections.abc import Iterator

from bide import App, Await, Kafka, Pipeline, Retry

REQUESTS, RESULTS, LETTERS = "shop.requests", "shop.results", "shop.results.dead-letters"


def rows(count: int) -> Iterator[int]:
    yield from range(count)


def joined(texts: Iterator[str]) -> str:
    return ",".join(texts)


via = Kafka(request=REQUESTS, response=RESULTS, retry=Retry(1_000, first="100ms", longest="500ms"))
check = Await("Check", int, str, via=via, timeout="1h")
checks = Pipeline("kafka-shop", int).then(rows).wait(check).then(joined)
app = App(checks)
