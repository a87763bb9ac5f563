"""A RAG app with LlamaIndex, and the same with zprompt: at query time, and with Z-spans made at ingestion.

    python -m examples.rag_llama_index                           # three questions about the library
    python -m examples.rag_llama_index "Who founded the orchestra?"
    python -m examples.rag_llama_index --url http://localhost:8000/v1 --api-key KEY      # asks `zprompt serve`

Needs `pip install -r examples/requirements.txt`. What zprompt adds is marked with `# +`.
"""

from pathlib import Path

import chromadb
from llama_index.core import VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import Document, TransformComponent
from llama_index.embeddings.huggingface import HuggingFaceEmbedding
from llama_index.postprocessor.zprompt import ZPromptPostprocessor, ZPromptTransform  # +
from llama_index.vector_stores.chroma import ChromaVectorStore

from examples.rag_common import PASSAGES, RATIO, Way, embedding_model, library, run_app

TOKENS = 220  # of a passage, at most


def ways(folder: Path) -> dict[str, Way]:
    """Index the library twice, as an app without zprompt would and with Z-spans; return retrievers by name."""
    documents = [Document(text=text.text, metadata={"title": text.title, "file": text.file}) for text in library()]
    embedding = HuggingFaceEmbedding(model_name=embedding_model())
    client = chromadb.PersistentClient(str(folder))

    def retriever_of(name: str, *more: TransformComponent) -> BaseRetriever:
        store = ChromaVectorStore(client.create_collection(name))
        steps = [SentenceSplitter(chunk_size=TOKENS, chunk_overlap=0), embedding, *more]
        IngestionPipeline(transformations=steps, vector_store=store).run(documents=documents)
        return VectorStoreIndex.from_vector_store(store, embedding).as_retriever(similarity_top_k=PASSAGES)

    retriever = retriever_of("texts")

    zprompt = ZPromptPostprocessor()  # +  or as_query_engine(node_postprocessors=[zprompt])

    ingested = retriever_of("with-z-spans", ZPromptTransform(ratio=RATIO))  # +  Z-spans in the metadata
    from_there = ZPromptPostprocessor(form="z")  # +  the shipped reader reads them

    return {
        "without zprompt": retriever.retrieve,
        "shorter text": lambda question: zprompt.postprocess_nodes(retriever.retrieve(question), query_str=question),
        "Z-spans of ingestion": lambda question: from_there.postprocess_nodes(ingested.retrieve(question)),
    }


if __name__ == "__main__":
    run_app(__doc__, ways)
