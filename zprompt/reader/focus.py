"""Which sentences of its passages a reader reads: those that the question needs, within a number of tokens.

A small reader is led astray by what it does not need: of ten passages it answers best from their 100 to 200 most
relevant tokens, whoever chose them (docs/reader-quality.md). So it reads no more by default.

    text                             its sentences, as `zprompt.compress(…, form="text")` would choose and write them
    Z-spans that were focused        the same, of what stands in them word for word: runs of Z-tokens that drop nothing
    other Z-spans                    as they are: what they say can't be told without the LLM

Whether Z-spans were focused is seen from all of them together: RUN or more tokens in a row stay seldom by chance, so
where such runs have most of the Z-tokens, a question chose them. What is left between them is for restoring the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zprompt.documents import Document, DocumentBatch, title_of
from zprompt.relevance import ELISION, NOTHING, Choice, Length, Passage, cost_as_text, elide, shared_relevance
from zprompt.zspan import ZToken, escape_literal, split_at_spans, verbatim_runs

RUN = 8  # tokens in a row that stay word for word, at least, where a question chose them

_MARKS = re.compile(rf"((?<!\s)\s*{re.escape(ELISION)})(?:\s*{re.escape(ELISION)})+")  # an app's and the reader's


@dataclass(frozen=True, slots=True)
class PassageFocus:
    """Chooses what a reader reads."""

    parse: Callable[[str], Sequence[ZToken]]  # a Z-span's Z-tokens
    decode: Callable[[list[int]], str]  # the text of tokens
    count: Callable[[str], int]  # the tokens of a text

    def choose(self, question: str, batch: DocumentBatch, most: int) -> Sequence[Document]:
        """Leave out of passages what a question needs least.

        :param question: The question.
        :param batch: The passages.
        :param most: Tokens of text that stay, at most. Passages that have no more stay as they are; if no sentence is
            that short, the best one stays whole.
        :return: The passages, in their order.
        """
        legible = {index: text for index, text in enumerate(self._legible(batch.texts)) if text is not None}
        if sum(map(self.count, legible.values())) > most:
            passages = [Passage(text, title_of(batch.documents[index])) for index, text in legible.items()]
            choice = Choice(shared_relevance(), question, passages, cost_as_text(passages, self.count))
            chosen = choice.choose(Length(most=most))
            if not any(kept.ranges for kept in chosen):
                chosen = choice.choose(Length(wanted=most))  # no sentence fits: the best one, however long
            pairs = zip(passages, chosen, strict=True)
            written = [_MARKS.sub(r"\1", elide(passage.text, kept, self.count)[0]) for passage, kept in pairs]
            legible = dict(zip(legible, written, strict=True))
        documents = batch.with_texts([legible.get(index, text) for index, text in enumerate(batch.texts)])
        return documents if isinstance(documents, list) else [documents]

    def _legible(self, texts: Sequence[str]) -> list[str | None]:
        """Return passages as text, with what stands word for word of Z-spans; None for one that can't be."""
        parts = [list(split_at_spans(text)) for text in texts]
        spans = {part.text: self.parse(part.text) for own in parts for part in own if not isinstance(part, str)}
        runs = {span: [run for run in verbatim_runs(tokens) if len(run) >= RUN] for span, tokens in spans.items()}
        stays = sum(len(run) for own in runs.values() for run in own)
        if 2 * stays < sum(map(len, spans.values())):
            return [
                text if all(isinstance(part, str) for part in own) else None
                for text, own in zip(texts, parts, strict=True)
            ]
        said = {
            span: f" {ELISION} ".join(self.decode([token.anchor for token in run]).strip() for run in own) or NOTHING
            for span, own in runs.items()
        }
        return [
            escape_literal("".join(part if isinstance(part, str) else said[part.text] for part in own)) for own in parts
        ]
