"""The same payments, asked for and answered over Kafka.

    export BIDE_KAFKA_SERVERS=127.0.0.1:9092
    bide keys generate --file keyring.json && export BIDE_KEYRING_FILE=keyring.json
    bide serve examples.csv_payments.over_kafka:app
    python examples/csv_payments/provider.py --kafka 127.0.0.1:9092
    make demo-kafka                               (all of it, a broker too, and a kill half way)

Nothing differs but the way: the provider reads one topic and writes another, and proves with the
token of each request that it may answer it.
"""

from bide import App, Kafka
from examples.csv_payments import asking, paying

REQUESTS = "csv-payments.payment.requests"
RESULTS = "csv-payments.payment.results"

via = Kafka(request=REQUESTS, response=RESULTS, group="csv-payments-orchestrator")
provider = asking(via)
payments = paying(provider)
app = App(payments)

__all__ = ["app", "payments", "provider", "via"]
