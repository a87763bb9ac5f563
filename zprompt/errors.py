"""All errors that zprompt raises on purpose, as one hierarchy.

Catch `ZPromptError` to catch all of them. Each message states what was wrong, what is allowed and what to do; the
classes let a caller tell a damaged Z-span from a wrong codec.
"""


class ZPromptError(Exception):
    """The root of all errors that zprompt raises on purpose."""


class OptionError(ZPromptError, ValueError):
    """An option has a value that is not allowed, or two options exclude each other."""


class DocumentTypeError(ZPromptError, TypeError):
    """A document is of a type that zprompt does not read."""


class InvalidTextError(ZPromptError, ValueError):
    """A text cannot be encoded: it has lone surrogates, or does not come back from the tokenizer."""


class SpanError(ZPromptError, ValueError):
    """A Z-span cannot be read."""


class DamagedSpanError(SpanError):
    """A Z-span does not have the form that its version prescribes."""


class TruncatedSpanError(DamagedSpanError):
    """A Z-span has no end, or ends before all of its Z-tokens."""


class ForgedSpanError(SpanError):
    """A Z-span's checksum does not match its content."""


class SpanVersionError(SpanError):
    """A Z-span has a version of the text form that this release does not know."""


class WrongCodecError(SpanError):
    """A Z-span was written by another codec than the loaded one."""


class IntegrityError(SpanError):
    """A Z-span decompressed to a text that does not match its hash."""


class ContextBudgetError(ZPromptError, ValueError):
    """A prompt and the requested answer do not fit into the model's context."""


class BackboneError(ZPromptError):
    """A backbone cannot be loaded or used."""


class BackboneNotFoundError(BackboneError):
    """A backbone is not on this machine, and fetching it is not possible or not allowed."""


class DownloadError(BackboneError):
    """A download failed."""


class ChecksumError(DownloadError):
    """A downloaded file is not the one that was expected."""


class CheckpointError(ZPromptError):
    """A checkpoint cannot be loaded, or belongs to other backbone weights."""


class MissingDependencyError(ZPromptError, ImportError):
    """An optional dependency is needed and not installed."""


class WorkerError(ZPromptError):
    """The worker processes of a bulk run keep dying."""


class BaselineUnavailableError(ZPromptError):
    """A baseline cannot be used here: its package is not installed, or lacks what it needs."""


class PeerError(ZPromptError):
    """Another package, used as a baseline, failed on a text."""


class TrainingDataError(ZPromptError, ValueError):
    """A training or development file is missing, empty or malformed."""


class DamagedSequenceError(ZPromptError, ValueError):
    """A sequence or text with references does not have the form that `zprompt.baselines.ltsc` writes."""


class BenchResultsError(ZPromptError, ValueError):
    """A file does not have the results of `zprompt bench` in the form that this release reads."""


class UnknownOriginalError(ZPromptError, LookupError):
    """No original was kept under this hash."""


class DroppedOriginalError(UnknownOriginalError):
    """An original was evicted to make room for others."""


class UnreadableError(ZPromptError, ValueError):
    """A reader cannot read the output of a baseline."""


def located(error: ZPromptError, place: str) -> ZPromptError:
    """Return an error of the same class, with the place before its message."""
    return type(error)(f"{place}: {error}")


class RatioWarning(UserWarning):
    """The requested ratio was missed by more than a tenth, or nothing fitted; the message says why."""
