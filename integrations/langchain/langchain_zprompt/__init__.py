"""Shorten retrieved passages and tool results for any LLM, from LangChain.

ZPromptRetriever(retriever=yours)        # passages without what the question does not need
ZPromptMiddleware()                      # the same of long tool results, in the request only
ZPromptCompressor(), ZPromptDecompressor()               # documents; from Z-spans, there and back

An LLM whose server says that it reads Z-tokens gets Z-spans instead (`form`, `reader`).
"""

from typing import TYPE_CHECKING, Any

from langchain_zprompt.documents import ZPromptCompressor, ZPromptDecompressor
from langchain_zprompt.retriever import ZPromptRetriever

if TYPE_CHECKING:
    from langchain_zprompt.middleware import ZPromptMiddleware

__version__ = "0.1.0"
__all__ = ["ZPromptCompressor", "ZPromptDecompressor", "ZPromptMiddleware", "ZPromptRetriever"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the class
    """Import the middleware when it is first used, since it needs `langchain`."""
    if name != "ZPromptMiddleware":
        raise AttributeError(f"module 'langchain_zprompt' has no attribute {name!r}")
    from zprompt.errors import MissingDependencyError

    try:
        from langchain_zprompt.middleware import ZPromptMiddleware
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "langchain":
            raise
        raise MissingDependencyError(
            "ZPromptMiddleware needs langchain, which is not installed. "
            "Install it with: pip install 'langchain-zprompt[middleware]'"
        ) from error
    return ZPromptMiddleware
