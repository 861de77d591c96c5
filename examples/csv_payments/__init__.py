"""A file of payments, each of which waits for an answer of the payment provider.

    bide serve examples.csv_payments:app
    python examples/csv_payments/provider.py --url http://127.0.0.1:8000
    python -m examples.csv_payments.demo          (both, and a kill half way)

The file is read row by row; every row becomes one interaction of a single await unit, and the
answers may come in any order. When the last one is in, approved and unapproved payments each go to
their own step, and the result is written in the order of the input.

The same payments over Kafka: `examples.csv_payments.over_kafka`.
"""

from bide import App, Await, Inbox, Many, Pipeline, Transport, branch
from examples.csv_payments.messages import (
    CsvPaymentsInputFile,
    PaymentOutput,
    PaymentRecord,
    PaymentStatus,
)
from examples.csv_payments.steps import (
    finalize_payment_output,
    process_approved_payment_status,
    process_csv_payments_input,
    process_unapproved_payment_status,
)


def asking(via: Transport) -> Await[PaymentRecord, PaymentStatus, PaymentStatus]:
    """The await, whichever way its requests go."""
    return Await(
        "Await Payment Provider",
        PaymentRecord,
        PaymentStatus,
        via=via,
        timeout="PT5M",
        idempotent_on=[
            "csv_payments_input_file_path",
            "csv_id",
            "recipient",
            "amount",
            "currency",
        ],
    )


def paying(
    provider: Await[PaymentRecord, PaymentStatus, PaymentStatus],
) -> Pipeline[CsvPaymentsInputFile, Many[PaymentOutput]]:
    """The pipeline around it."""
    return (
        Pipeline("csv-payments", CsvPaymentsInputFile)
        .then(process_csv_payments_input)
        .wait(provider)
        .then(branch(process_approved_payment_status).branch(process_unapproved_payment_status))
        .then(finalize_payment_output)
    )


provider = asking(Inbox(group="payment-provider"))
payments = paying(provider)
app = App(payments)

__all__ = ["app", "asking", "paying", "payments", "provider"]
