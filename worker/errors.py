"""What can go wrong for a caller, as a tree.

    DreamhookError
    ├── InvalidInputError      what was sent cannot be used; names the field and the remedy
    │   ├── AddressRefusedError    a webhook address that we will not call
    │   └── KeyReusedError         an idempotency key that another request has; says which differ
    ├── NotFoundError          no such thing, or no longer
    ├── ConflictError          it exists with other settings
    │   └── UnderWayError          it is being done just now; says when to ask again
    ├── UnavailableError       cannot be done now; says when to try again
    │   └── NotSentError           the provider of a submission cannot be reached; nothing was sent
    ├── RefusedError           the provider has made nothing, and says why
    ├── UnansweredError        nobody knows yet what came of it; says where to ask
    └── ConfigurationError     the deployment cannot start like this; says what to set
        └── RedisAwayError         its Redis does not answer; it may be about to start

Everything a provider or a receiver answers is a value (`worker.model`), never an exception.
"""

from __future__ import annotations

from collections.abc import Sequence

from worker.model import Declined, Submission


class DreamhookError(Exception):
    """Something a caller is told about in words."""


class InvalidInputError(DreamhookError):
    """What was sent cannot be used."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class AddressRefusedError(InvalidInputError):
    """A webhook address that Dreamhook will not call."""


class KeyReusedError(InvalidInputError):
    """Another request has this idempotency key; `differing` names what in it is other, and how."""

    def __init__(
        self, message: str, *, submission_id: str, differing: Sequence[tuple[str, str]]
    ) -> None:
        super().__init__("Idempotency-Key", message)
        self.submission_id = submission_id
        self.differing = differing


class NotFoundError(DreamhookError):
    """No such thing, or no longer; `field` is what named it, if it was one of several."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class ConflictError(DreamhookError):
    """It exists already, with other settings; `differing` names them, each with what differs."""

    def __init__(self, message: str, differing: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.differing = differing


class UnavailableError(DreamhookError):
    """It cannot be done now; `retry_after` says in how many seconds it is worth trying again."""

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnderWayError(ConflictError):
    """The same is being done just now; ask again in `retry_after` seconds."""

    def __init__(self, message: str, *, submission_id: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.submission_id = submission_id
        self.retry_after = retry_after


class NotSentError(UnavailableError):
    """The provider cannot be reached: nothing was sent, and nothing made."""

    def __init__(self, submission: Submission, detail: str) -> None:
        super().__init__(
            f"The provider of account {submission.account} cannot be reached ({detail}). "
            "Nothing was sent.",
            retry_after=5.0,
        )
        self.submission = submission


class RefusedError(DreamhookError):
    """The provider has made nothing, and says why."""

    def __init__(self, submission: Submission, refusal: Declined) -> None:
        super().__init__(refusal.detail)
        self.submission = submission
        self.refusal = refusal


class UnansweredError(DreamhookError):
    """Nobody knows (yet) what came of a submission."""

    def __init__(self, submission: Submission) -> None:
        super().__init__(submission.detail or "The provider has not answered.")
        self.submission = submission


class ConfigurationError(DreamhookError):
    """The deployment cannot start with these settings."""


class RedisAwayError(ConfigurationError):
    """The deployment's Redis does not answer, though nothing says that it never will."""
