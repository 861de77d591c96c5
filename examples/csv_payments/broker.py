"""The broker of `make demo-kafka`, and its topics."""

from contextlib import ExitStack
from pathlib import Path

# The stubs of the admin client do not say what a future holds.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from examples.csv_payments.over_kafka import REQUESTS, RESULTS, via
from tests.servers.kafka import BrokerMissing, KafkaBroker

PARTITIONS = 6
PATIENCE_S = 30.0


def start(folder: Path, children: ExitStack) -> str:
    """Start a broker with its data in the demo's folder; gives how it is reached.

    Raises:
        RuntimeError: it does not start, or Java or Maven is not there.
    """
    try:
        return children.enter_context(KafkaBroker(folder.resolve() / "kafka")).servers
    except BrokerMissing as missing:
        raise RuntimeError(f"{missing}; or name a broker: BIDE_KAFKA_SERVERS=host:port") from None


def make_topics(servers: str) -> None:
    """Make the three topics, unless they are there.

    Raises:
        RuntimeError: the broker does not make them.
    """
    names = (REQUESTS, RESULTS, via.dead_letter_topic)
    admin = AdminClient({"bootstrap.servers": servers})
    wanted = [NewTopic(name, num_partitions=PARTITIONS) for name in names]
    for name, made in admin.create_topics(wanted).items():
        try:
            made.result(PATIENCE_S)
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                raise RuntimeError(f"topic {name}: {error.args[0].str()}") from None
