"""All settings in one table: `SKUGRAPH_*` in the environment over `skugraph.toml` in the home folder over the defaults.

docs/reference/settings.md lists them; a test holds the page against this class.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from kg.errors import BadSetting, first_refusal

__all__ = ["InstanceKind", "Queue", "Settings", "SimilaritySource", "load_settings"]

InstanceKind = Literal["image", "text", "fused"]
SimilaritySource = Literal["text", "cooccurrence", "visual"]
Queue = Literal["ingest", "decode", "encode", "graph"]


class Settings(BaseSettings):
    """One flat table; every field has a default that works on a bare machine."""

    model_config = SettingsConfigDict(env_prefix="SKUGRAPH_", extra="forbid", frozen=True)

    home: Path = Field(Path("~/.skugraph"), description="Folder of the embedded stores, models, caches and logs")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("WARNING", description="Level of logs on stderr")
    trace_to: str | None = Field(
        None, description="Where spans go: http(s)://… of an OTLP collector, or a file; unset: nowhere"
    )

    # graph
    graph_uri: str | None = Field(None, description="Bolt URI of a Neo4j server; unset: the embedded graph")
    graph_user: str = Field("neo4j", description="User of that server")
    graph_password: SecretStr = Field(SecretStr(""), description="Password of that user")
    graph_reader_user: str | None = Field(None, description="Read-only user for `cypher`, where the server has one")
    graph_reader_password: SecretStr = Field(SecretStr(""), description="Password of the read-only user")
    graph_database: str = Field("neo4j", description="Database name, sent with every query")
    graph_timeout_s: float = Field(60, gt=0, description="Longest run of one transaction on a Neo4j server, in seconds")
    graph_heap: str = Field(
        "auto",
        pattern=r"^(auto|\d+[mg])$",
        description="Java heap of the embedded graph, as `2g`; `auto`: a quarter of the memory, at least 1 GB",
    )

    # vectors
    vectors_uri: str | None = Field(None, description="URI of a Milvus server; unset: the embedded Milvus Lite")
    vectors_token: SecretStr = Field(SecretStr(""), description="Token (user:password) of that server")
    vectors_timeout_s: float = Field(60, gt=0, description="Longest run of one vector request, in seconds")
    vectors_prefix: str = Field(
        "skugraph", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,31}$", description="First part of collection and alias names"
    )

    # embedded stores
    stores_linger_s: float = Field(60, ge=0, description="Embedded stores stop this long after their last user left")

    # workers
    broker_url: str | None = Field(
        None, description="Celery broker, redis://… or amqp://…; unset: a folder in the home"
    )
    result_backend: str | None = Field(None, description="Celery result backend; unset: SQLite in the home")
    worker_queues: tuple[Queue, ...] = Field(
        ("ingest", "decode", "encode", "graph"), min_length=1, description="Queues that a worker serves"
    )
    worker_metrics_host: str = Field("127.0.0.1", description="Address on which a worker answers Prometheus")
    worker_metrics_port: int | None = Field(
        None, ge=0, le=65535, description="Port of that; 0 takes a free one; unset: it does not answer"
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    embed_chunk: int = Field(128, ge=1, le=2000, description="Products of an embedding job that count at once")
    encode_batch: int = Field(64, ge=1, description="Pictures or texts in one forward pass")
    embed_kinds: tuple[InstanceKind, ...] = Field(("image", "text"), description="Vectors kept for each product")
    embed_regions: int = Field(0, ge=0, le=100, description="Most regions of a picture that get a vector")
    embed_region_score: float = Field(0.3, ge=0, le=1, description="Smallest score of such a region")
    embed_max_unreadable: float = Field(
        0.5, ge=0, le=1, description="Largest share of a chunk's pictures that may be unreadable; else its job fails"
    )
    feature_cache_gb: float = Field(8, ge=0, description="Room for cached backbone features; 0 turns the cache off")

    # generations
    reembed_max_seconds: float | None = Field(None, gt=0, description="Longer re-embeddings are refused")
    reembed_max_bytes: int | None = Field(None, gt=0, description="Re-embeddings that need more room are refused")
    embed_max_rate: float = Field(0, ge=0, description="Most vectors a worker makes a second; 0 for no limit")
    embed_yield_ms: float = Field(
        0, ge=0, description="Workers wait while the 95th percentile of searches is above this; 0: they never do"
    )
    generation_gates: Path | None = Field(None, description="JSON file of the gates that a promotion must pass")
    rollback_max_stale: int = Field(
        10_000, ge=0, description="Most changes that a generation promoted or rolled back to may lack"
    )

    # catalogue
    batch_rows: int = Field(1000, ge=1, le=2000, description="Rows in one graph transaction")
    picture_max_mb: float = Field(20, gt=0, description="Largest picture file")
    picture_max_megapixels: float = Field(50, gt=0, description="Largest picture in megapixels, known before decoding")
    picture_fetch_timeout_s: float = Field(15, gt=0, description="Longest fetch of one picture by URL")
    fetch_private: bool = Field(False, description="Allow picture URLs that resolve to private addresses")
    phrase_dictionary: Path | None = Field(None, description="Extra phrases, one `type<TAB>text` a line")

    # entities
    mine_phrases: Literal["auto", "on", "off"] = Field(
        "auto", description="Entities from captions alone; auto: where fields state fewer than two of a product"
    )
    mine_least_df: int = Field(2, ge=1, description="Captions that such a phrase must stand in")
    entities_per_product: int = Field(15, ge=0, le=100, description="Most entities a product has from its caption")
    entity_model: str | None = Field(None, description="Model that also finds entities in captions, by name or path")
    similarity_sources: tuple[SimilaritySource, ...] = Field(
        ("text", "cooccurrence", "visual"), description="What SIMILAR_TO edges are computed from"
    )
    similarity_k: int = Field(10, ge=1, le=100, description="Nearest entities looked at for SIMILAR_TO edges")
    similarity_threshold: float = Field(0.6, ge=-1, le=1, description="Smallest cosine of two texts or looks")

    # search
    exact_max_ids: int = Field(2000, ge=0, description="Graph sets up to this size are scored exactly")
    ids_max: int = Field(50_000, ge=0, description="Graph sets up to this size go to Milvus as an id list")
    search_max_k: int = Field(1000, ge=1, le=10_000, description="Largest k of a search")
    search_batch_max: int = Field(256, ge=1, le=10_000, description="Most searches of one batch")
    encode_cache_mb: float = Field(64, ge=0, description="Room for vectors of earlier questions; 0 keeps none")
    resident_mb: float = Field(
        2048, ge=0, description="Room for a copy of the live generation beside the API, in MB; 0: no copy is kept"
    )
    resident_dtype: Literal["float32", "float16"] = Field(
        "float32", description="What such a copy is scanned as; float16 takes half the room and four times as long"
    )
    rrf_constant: int = Field(60, ge=1, description="Constant of reciprocal rank fusion")
    currency_rates: dict[
        Annotated[str, StringConstraints(pattern="^[A-Z]{3}$")], Annotated[float, Field(gt=0, allow_inf_nan=False)]
    ] = Field(
        {}, description='What one unit of each currency is worth in any one of them, such as `{"EUR": 1, "USD": 0.92}`'
    )

    # API
    api_host: str = Field("127.0.0.1", description="Address that `skugraph up` listens on")
    api_port: int = Field(8765, ge=0, le=65535, description="Port of the API; 0 takes a free one")
    api_auth: Literal["auto", "on", "off"] = Field(
        "auto", description="API keys: auto asks for them on every address but loopback"
    )
    request_max_mb: float = Field(25, gt=0, description="Largest request body")
    rate_limit_per_minute: int = Field(
        600, ge=0, description="Requests of one client a minute, each search of a batch counted; 0: no limit"
    )
    cypher_max_rows: int = Field(1000, ge=1, description="Most rows that a read-only Cypher query returns")
    cypher_timeout_s: float = Field(10, gt=0, description="Longest run of a read-only Cypher query")

    def __hash__(self) -> int:
        """The default hash wants every value to have one, and a table of rates has none."""
        return hash(self.model_dump_json())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, which wins over the file (passed by `load_settings`)."""
        return init_settings, env_settings, _FileSource(settings_cls)


class _FileSource(PydanticBaseSettingsSource):
    """`skugraph.toml` of the home folder that arguments or the environment name."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        home = self.current_state.get("home") or os.environ.get("SKUGRAPH_HOME") or "~/.skugraph"
        path = Path(home).expanduser() / "skugraph.toml"
        if not path.is_file():
            return {}
        try:
            return tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadSetting(f"{path} is not valid TOML: {error}") from error


def load_settings(**overrides: Any) -> Settings:
    """Settings for this process; `overrides` are command-line options, None meaning not given.

    Raises:
        BadSetting: an unknown setting, a value out of range, or a file that is not TOML.
    """
    try:
        settings = Settings(**{k: v for k, v in overrides.items() if v is not None})
    except ValidationError as error:
        name, refused = first_refusal(error)
        raise BadSetting(
            f"setting {refused}",
            hint="docs/reference/settings.md lists every setting",
            field=name,
        ) from error
    return settings.model_copy(update={"home": settings.home.expanduser().absolute()})
