"""A file of payments, each of which waits for an answer of the payment provider.

    bide serve examples.csv_payments:app
    python examples/csv_payments/provider.py --url http://127.0.0.1:8000
    python -m examples.csv_payments.demo          (both, and a kill half way)

The file is read row by row; every row becomes one interaction of a single await unit, and the
answers may come in any order. When the last one is in, approved and unapproved payments each go to
their own step, and the result is written in the order of the input.
"""

from bide import App, Await, Inbox, Pipeline, branch
from examples.csv_payments.messages import CsvPaymentsInputFile, PaymentRecord, PaymentStatus
from examples.csv_payments.steps import (
    finalize_payment_output,
    process_approved_payment_status,
    process_csv_payments_input,
    process_unapproved_payment_status,
)

provider = Await(
    "Await Payment Provider",
    PaymentRecord,
    PaymentStatus,
    via=Inbox(group="payment-provider"),
    timeout="PT5M",
    idempotent_on=["csv_payments_input_file_path", "csv_id", "recipient", "amount", "currency"],
)

payments = (
    Pipeline("csv-payments", CsvPaymentsInputFile)
    .then(process_csv_payments_input)
    .wait(provider)
    .then(branch(process_approved_payment_status).branch(process_unapproved_payment_status))
    .then(finalize_payment_output)
)

app = App(payments)

__all__ = ["app", "payments", "provider"]
