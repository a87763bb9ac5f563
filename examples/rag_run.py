"""Run a RAG app from the command line: each question in all of its ways, side by side."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import zprompt
from examples.rag_common import Way, ask, in_process, served, show, wanted


def main(about: str | None, ways: Callable[[Path], dict[str, Way]]) -> None:
    """Index, ask and print.

    :param about: The help text.
    :param ways: Builds the ways of the app, in a folder for its vector stores.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", nargs="*", help="a question about the library")
    parser.add_argument("--reader", default="default", help="a shipped reader, or a reader's folder")
    parser.add_argument("--url", help="of a server, with /v1, instead of a reader in this process")
    parser.add_argument("--api-key", default="none", help="the server's key")
    options = parser.parse_args()

    llm = served(options.url, options.api_key) if options.url else in_process(zprompt.load_reader(options.reader))
    with tempfile.TemporaryDirectory() as folder:
        built = ways(Path(folder))
        for question in wanted(options.question):
            show({name: ask(way, llm, question) for name, way in built.items()})
