"""A RAG app with LangChain, and the same with zprompt: at query time, and with Z-spans made at ingestion.

    python -m examples.rag_langchain                             # three questions about the library
    python -m examples.rag_langchain "Who founded the orchestra?"
    python -m examples.rag_langchain --url http://localhost:8000/v1 --api-key KEY        # asks `zprompt serve`

Needs `pip install -r examples/requirements.txt`. What zprompt adds is marked with `# +`.
"""

from pathlib import Path

from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_huggingface import HuggingFaceEmbeddings
from langchain_text_splitters import RecursiveCharacterTextSplitter
from langchain_zprompt import ZPromptCompressor, ZPromptRetriever  # +

from examples.rag_common import PASSAGES, RATIO, Way, embedding_model, library, run_app

CHARACTERS = 900  # of a passage, at most


def ways(folder: Path) -> dict[str, Way]:
    """Index the library twice, as an app without zprompt would and with Z-spans; return retrievers by name."""
    documents = [Document(text.text, metadata={"title": text.title, "file": text.file}) for text in library()]
    passages = RecursiveCharacterTextSplitter(chunk_size=CHARACTERS, chunk_overlap=0).split_documents(documents)
    embeddings = HuggingFaceEmbeddings(model_name=embedding_model())

    def retriever_of(name: str, stored: list[Document]) -> BaseRetriever:
        store = Chroma(name, embeddings, persist_directory=str(folder))
        store.add_documents(stored)
        return store.as_retriever(search_kwargs={"k": PASSAGES})

    retriever = retriever_of("texts", passages)

    at_query = ZPromptRetriever(retriever=retriever)  # +

    ingested = ZPromptCompressor(ratio=RATIO).store_documents(passages)  # +  Z-spans in the metadata, beside the text
    from_there = ZPromptCompressor(form="z")  # the shipped reader reads them
    at_ingestion = ZPromptRetriever(retriever=retriever_of("with-z-spans", ingested), compressor=from_there)  # +

    return {
        "without zprompt": retriever.invoke,
        "shorter text": at_query.invoke,
        "Z-spans of ingestion": at_ingestion.invoke,
    }


if __name__ == "__main__":
    run_app(__doc__, ways)
