"""Settings: one typed object, read from the environment with the prefix `BIDE_`.

Every bound of the wire contract stands here with its default, so that an error can name the
setting that it met. Durations are milliseconds where the name ends in `_ms`.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, IPvAnyNetwork, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

KIB = 1024
MIB = 1024 * KIB


def _split(value: Any) -> Any:
    """Read a list as people write one into a variable: with commas or spaces."""
    return value.replace(",", " ").split() if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Networks = Annotated[tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """How one process of an app behaves; frozen once read."""

    model_config = SettingsConfigDict(env_prefix="BIDE_", frozen=True, extra="ignore")

    store: str = Field(
        default="sqlite:///bide.db",
        repr=False,  # it may hold a password
        description=(
            "Where executions live: sqlite:///relative, sqlite:////absolute,"
            " postgresql://user:password@host:port/database, memory://."
        ),
    )
    await_aggregate_max_input_items: int = Field(
        default=10_000,
        ge=0,
        description="Items that an aggregate await may ask about; 0: no bound.",
    )
    await_aggregate_max_output_items: int = Field(
        default=10_000, ge=0, description="Items that one answer may hold; 0: no bound."
    )
    payload_max_bytes: int = Field(
        default=MIB,
        ge=1,
        description="Bytes of one input, request, answer or step output at a boundary.",
    )
    result_max_bytes: int = Field(
        default=8 * MIB, ge=1, description="Bytes of a result that is given in one piece."
    )
    lease_ms: int = Field(
        default=15_000, ge=100, description="How long a claim lasts unless renewed."
    )
    lease_renew_ms: int = Field(default=5_000, ge=20, description="How often leases are renewed.")
    lease_takeovers_max: int = Field(
        default=5,
        ge=0,
        description="Lost leases that one boundary may cost before the dead letter.",
    )
    step_timeout_ms: int = Field(
        default=600_000, ge=1, description="How long a step may run that does not say so itself."
    )
    step_threads: int = Field(
        default=16, ge=1, le=1024, description="Threads for steps that are not async."
    )
    transaction_max_ms: int = Field(
        default=5_000,
        ge=1,
        description="How long a step may hold its `Transaction`, from its first statement to its"
        " return; past it the step has failed. On SQLite nobody else writes meanwhile: keep it well"
        " below the lease.",
    )
    transaction_idle_ms: int = Field(
        default=1_000,
        ge=1,
        description="How long it may hold it between two statements, awaiting something else.",
    )
    retry_in_place_ms: int = Field(
        default=1_000, ge=0, description="A shorter back-off is waited for in place."
    )
    sweep_interval_ms: int = Field(
        default=1_000, ge=10, description="How often deadlines are looked at."
    )
    batch_rows: int = Field(default=500, ge=1, description="Moves that share one commit, at most.")
    batch_bytes: int = Field(
        default=MIB, ge=1, description="Payload bytes that share one commit, at most."
    )
    pending_rows: int = Field(
        default=20_000, ge=1, description="Moves that may wait for a commit; past it callers wait."
    )
    dispatch_rows: int = Field(
        default=64,
        ge=1,
        description="Interactions that one process sends to one endpoint at once, at most; to a topic"
        " of Kafka it is BIDE_BATCH_ROWS.",
    )
    dispatch_breaker_failures: int = Field(
        default=5,
        ge=1,
        description="Failed dispatches in a row after which an endpoint is left alone for a while.",
    )
    dispatch_breaker_first_ms: int = Field(
        default=1_000,
        ge=1,
        description="The first of these pauses; each that follows is twice as long.",
    )
    dispatch_breaker_longest_ms: int = Field(
        default=60_000, ge=1, description="The longest of these pauses."
    )
    dispatch_late_ms: int = Field(
        default=60_000,
        ge=1,
        description="What waits longer than this to be sent is called late (`dispatch-backlog`).",
    )
    page_items: int = Field(
        default=500, ge=1, description="Items of a stream that reach a step at once."
    )
    buffer_ttl_ms: int = Field(
        default=86_400_000,
        ge=1,
        description="How long an answer is kept that came before its question.",
    )
    retention_days: float = Field(
        default=30, ge=0, description="How long ended executions are kept."
    )
    submit_key_days: float = Field(default=90, ge=0, description="How long their submit keys are.")
    audit_days: float = Field(
        default=365, ge=0, description="How long it is kept who decided what."
    )
    poll_max_ms: int = Field(
        default=1_000, ge=10, description="The longest pause between two looks."
    )
    stop_timeout_ms: int = Field(
        default=30_000, ge=0, description="How long a stop waits for segments that run."
    )
    require_idempotency_key: bool = Field(
        default=False, description="Refuse a submission over HTTP that has no Idempotency-Key."
    )
    http_max_body_bytes: int = Field(
        default=8 * MIB, ge=KIB, description="Bytes of one request body, batches included."
    )
    http_receive_timeout_ms: int = Field(
        default=60_000,
        ge=10,
        description="How long a client may take to send the head of a request, and then its body.",
    )
    tenant_open_max: int = Field(
        default=0,
        ge=0,
        description="Executions of one tenant that may be open at once; past it submissions are"
        " refused. 0: no bound.",
    )
    batch_max_lines: int = Field(
        default=10_000, ge=1, description="Completions of one NDJSON batch, at most."
    )
    keyring_file: Path | None = Field(
        default=None,
        description="File of the keys that resume tokens and links are signed with; it is read"
        " again when it changes.",
    )
    keyring: SecretStr | None = Field(
        default=None, description="The same in place of a file: the keyring's JSON itself."
    )
    api_keys_file: Path | None = Field(
        default=None,
        description="File of the API keys that are taken, as hashes with what each may do; it is"
        " read again when it changes.",
    )
    api_keys: SecretStr | None = Field(
        default=None, description="The same in place of a file: the JSON itself."
    )
    jwt_jwks: str = Field(
        default="",
        description="Where the keys of JWT bearer tokens are: a file, or an https address.",
    )
    jwt_issuer: str = Field(default="", description="The `iss` that a JWT must have.")
    jwt_audience: str = Field(default="", description="The `aud` that a JWT must have.")
    jwt_algorithms: str = Field(
        default="RS256,ES256",
        description="Algorithms that are taken, with commas between: RS, PS and ES of 256, 384 and"
        " 512, EdDSA.",
    )
    jwt_tenant: str = Field(
        default="", description="The tenant of every JWT; blank: as its claim says."
    )
    jwt_tenant_claim: str = Field(
        default="tenant", description="The claim that holds the tenant; dots lead inwards."
    )
    jwt_groups_claim: str = Field(default="groups", description="Likewise, a list of groups.")
    jwt_roles_claim: str = Field(
        default="roles", description="Likewise, roles; what is no role here is passed over."
    )
    jwt_leeway_s: int = Field(
        default=30, ge=0, le=300, description="Seconds that the issuer's clock may be off."
    )
    callback_base_url: str = Field(
        default="",
        description="Where this API is reached from outside, for callbacks and links:"
        " https://host or https://host/path.",
    )
    webhook_secrets: SecretStr | None = Field(
        default=None,
        description="What webhooks are signed with (`whsec_...`) where an await names no secret of"
        " its own; several with spaces between them, each of which signs.",
    )
    webhook_secrets_file: Path | None = Field(
        default=None, description="The same from a file, one a line, in place of the variable."
    )
    webhook_hosts: Names = Field(
        default=(),
        description="The only hosts that webhooks go to, with commas between them; `*.example.com`"
        " is every name below that one. Empty: every host.",
    )
    webhook_networks: Networks = Field(
        default=(),
        description="Networks of your own that webhooks may go to, such as 10.20.0.0/16, also"
        " without TLS. Empty: public addresses alone, over TLS.",
    )
    webhook_allow_loopback: bool = Field(
        default=False,
        description="Let webhooks go to this machine, also without TLS: for development.",
    )
    webhook_proxy: SecretStr | None = Field(
        default=None,
        description="An http:// or https:// proxy that webhooks go out through; it then resolves"
        " names and must refuse private addresses.",
    )
    webhook_ca_file: Path | None = Field(
        default=None,
        description="Certificate authorities (PEM) that webhooks trust in place of the usual ones.",
    )
    webhook_connect_timeout_ms: int = Field(
        default=3_000, ge=1, description="How long a webhook's connection may take to be made."
    )
    webhook_timeout_ms: int = Field(
        default=15_000, ge=1, description="How long one webhook may take in all."
    )
    webhook_connections: int = Field(
        default=64, ge=1, le=4_096, description="Connections to one partner, at most."
    )
    kafka_servers: Names = Field(
        default=(),
        description="The brokers to begin with, `host:port` with commas between them.",
    )
    kafka_config: SecretStr | None = Field(
        default=None,
        description="More of librdkafka's properties for every Kafka client, such as those of TLS and"
        ' SASL: a JSON object, or `name=value` a line. `{"security.protocol": "SASL_SSL", ...}`',
    )
    kafka_config_file: Path | None = Field(
        default=None, description="The same from a file, in place of the variable."
    )
    kafka_timeout_ms: int = Field(
        default=15_000,
        ge=1_000,
        description="How long a broker may take to have a record, and the receipt of a publication to"
        " come.",
    )
    kafka_lag_max: int = Field(
        default=10_000,
        ge=0,
        description="Answers that may wait on a response topic; past it `transport` warns. 0: no"
        " bound.",
    )
    metrics: bool = Field(
        default=False,
        description="Count and measure for Prometheus, shown at /metrics; takes bide[telemetry].",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65_535,
        description="A port of its own for /metrics, /healthz and /readyz, also of `bide worker`;"
        " empty: none, 0: a free one.",
    )
    metrics_host: str = Field(
        default="127.0.0.1", description="Where that port listens: this machine alone."
    )
    metrics_token: SecretStr | None = Field(
        default=None,
        description="What whoever reads /metrics must send as `Authorization: Bearer`; needed"
        " where that port listens on more than this machine.",
    )
    traces: bool = Field(
        default=False,
        description="Trace executions with OpenTelemetry: by the program's own provider, else by"
        " `OTEL_*` to an OTLP endpoint over HTTP; takes bide[telemetry].",
    )
    traces_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Of the traces that begin here, so many are recorded, 0 to 1; empty: as"
        " `OTEL_TRACES_SAMPLER` says, which without a word means all.",
    )
