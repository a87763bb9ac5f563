"""The RAG apps run with a real vector store, real embeddings and the shipped reader, if these are installed."""

import importlib
import warnings
from pathlib import Path

import pytest

import zprompt
from examples.rag_common import ask, in_process, questions

NEEDED = {
    "langchain": ("langchain_chroma", "langchain_huggingface", "langchain_zprompt"),
    "llama_index": ("chromadb", "llama_index.embeddings.huggingface", "llama_index.postprocessor.zprompt"),
}


@pytest.mark.slow
@pytest.mark.default_model
@pytest.mark.filterwarnings("default")  # the vector store has warnings of its own
@pytest.mark.parametrize("app", NEEDED)
def test_an_app_answers_from_the_right_text_in_fewer_positions(app: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in ("all_minilm_l6_v2", *NEEDED[app]):
            pytest.importorskip(module)
        ways = importlib.import_module(f"examples.rag_{app}").ways(tmp_path)
    llm, question = in_process(zprompt.load_reader()), questions()[0]

    plain, *others = [ask(way, llm, question) for way in ways.values()]

    assert question.file in plain.sources
    assert len(others) == 2
    for other in others:
        assert other.sources == plain.sources
        assert other.positions < 0.6 * plain.positions
