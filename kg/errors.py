"""Every error that skugraph raises on purpose, drawn once.

    SkugraphError
    ├── BadInput                      the caller's to mend: HTTP 4xx, CLI exit code 2
    │   ├── BadSetting                a setting or the settings file
    │   ├── BadColumnMap              the column map of an ingest
    │   ├── BadRecord                 one row of a catalogue (goes to the rejects file)
    │   ├── BadPicture                a picture that cannot or must not be decoded
    │   │   └── PictureAway           one that cannot be reached just now, and perhaps can later
    │   ├── BadFilter                 a filter that is unknown, malformed or unsupported
    │   ├── BadQuery                  Cypher that is refused (it writes, it does not parse, it runs too long)
    │   ├── BadVector                 wrong dimension, or not finite
    │   ├── NotFound                  an id, generation, job or encoder that does not exist
    │   └── TooLarge                  a request, picture or result above its limit
    ├── EncoderMismatch               a vector of one encoder meets a collection of another
    ├── GateClosed                    a generation stays below a gate, or was not measured against it
    ├── Unauthorised                  an API key is missing or not known
    ├── Forbidden                     a known API key whose scope is too small
    ├── RateLimited                   one client asks more often than its limit
    ├── MigrationError                the chain is broken: a checksum differs, a step failed
    ├── JobError                      a job failed, or cannot go on
    └── StoreDown                     a store does not answer; it names the store and its address

The message always carries the offending value and the rule it breaks; where there is a way out it says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = [
    "BadColumnMap",
    "BadFilter",
    "BadInput",
    "BadPicture",
    "BadQuery",
    "BadRecord",
    "BadSetting",
    "BadVector",
    "EncoderMismatch",
    "Forbidden",
    "GateClosed",
    "JobError",
    "MigrationError",
    "NotFound",
    "PictureAway",
    "RateLimited",
    "SkugraphError",
    "StoreDown",
    "TooLarge",
    "Unauthorised",
    "first_refusal",
]


class SkugraphError(Exception):
    """Root of the tree.

    Args:
        message: what is wrong: the offending value and the rule.
        hint: what to do about it, one sentence, or empty.
        detail: machine-readable context (field, value, rule, …) for JSON bodies.
    """

    code = "error"

    def __init__(self, message: str, *, hint: str = "", **detail: object) -> None:
        super().__init__(message)
        self.message, self.hint, self.detail = message, hint, detail

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class BadInput(SkugraphError):
    code = "bad-input"


class BadSetting(BadInput):
    code = "bad-setting"


class BadColumnMap(BadInput):
    code = "bad-column-map"


class BadRecord(BadInput):
    """One row that breaks a rule; `detail` holds field, value and rule."""

    code = "bad-record"

    def __init__(self, field: str, value: object, rule: str) -> None:
        super().__init__(f"{field} = {value!r}: {rule}", field=field, value=value, rule=rule)
        self.field, self.value, self.rule = field, value, rule


class BadPicture(BadInput):
    code = "bad-picture"


class PictureAway(BadPicture):
    code = "picture-away"


class BadFilter(BadInput):
    code = "bad-filter"


class BadQuery(BadInput):
    code = "bad-query"


class BadVector(BadInput):
    code = "bad-vector"


class NotFound(BadInput):
    code = "not-found"


class TooLarge(BadInput):
    code = "too-large"


class EncoderMismatch(SkugraphError):
    code = "encoder-mismatch"


class GateClosed(SkugraphError):
    code = "gate-closed"


class Unauthorised(SkugraphError):
    code = "unauthorised"


class Forbidden(SkugraphError):
    code = "forbidden"


class RateLimited(SkugraphError):
    code = "rate-limited"


class MigrationError(SkugraphError):
    code = "migration"


class JobError(SkugraphError):
    code = "job"


class StoreDown(SkugraphError):
    """A store that does not answer.

    Args:
        store: "graph", "vectors" or "broker".
        address: where it was looked for.
        why: what the attempt said.
    """

    code = "store-down"

    def __init__(self, store: str, address: str, why: str = "", *, hint: str = "") -> None:
        text = f"the {store} store at {address} does not answer" + (f" ({why})" if why else "")
        super().__init__(text, hint=hint or "`skugraph doctor` says what runs where", store=store, address=address)
        self.store, self.address = store, address


def first_refusal(error: ValidationError) -> tuple[str, str]:
    """The first thing that a model has refused: where, and "where = value: rule"."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return where, f"{where} = {first.get('input')!r}: {first['msg']}"
