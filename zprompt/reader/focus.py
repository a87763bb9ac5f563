"""Choose which sentences of passages a reader reads: those that the question needs, up to a number of tokens.

A small reader is distracted by what it does not need: of ten passages, it answers best from their 100 to 200 most
relevant tokens, whoever chose them (docs/reader-quality.md). So it reads no more by default.

    text                      sentences of it, as `zprompt.compress(…, form="text")` would choose and write them
    focused Z-spans           likewise, of the text that they keep word for word: runs of Z-tokens that drop nothing
    other Z-spans             as they are: their text is unknown without the LLM

Whether Z-spans were focused is decided from all of them together: RUN or more tokens in a row seldom stay by chance, so
if such runs have most of the Z-tokens, a question chose them. The Z-tokens between them serve to restore the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zprompt.documents import Document, DocumentBatch, title_of
from zprompt.relevance import ELISION, NOTHING, Choice, Length, Passage, cost_as_text, elide, shared_relevance
from zprompt.zspan import ZToken, escape_literal, split_at_spans, verbatim_runs

RUN = 8  # fewest tokens in a row that count as chosen by a question

_MARKS = re.compile(
    rf"((?<!\s)\s*{re.escape(ELISION)})(?:\s*{re.escape(ELISION)})+"
)  # repeated marks: the app's and the reader's


@dataclass(frozen=True, slots=True)
class PassageFocus:
    """Chooses what a reader reads."""

    parse: Callable[[str], Sequence[ZToken]]  # Z-span to Z-tokens
    decode: Callable[[list[int]], str]  # token ids to text
    count: Callable[[str], int]  # text to its number of tokens

    def choose(self, question: str, batch: DocumentBatch, most: int) -> Sequence[Document]:
        """Leave out what a question needs least.

        :param question: The question.
        :param batch: The passages.
        :param most: Most tokens of text that stay. Passages that have no more stay as they are; if no sentence is that
            short, the best one stays whole.
        :return: The passages, in order.
        """
        legible = {index: text for index, text in enumerate(self._legible(batch.texts)) if text is not None}
        if sum(map(self.count, legible.values())) > most:
            passages = [Passage(text, title_of(batch.documents[index])) for index, text in legible.items()]
            choice = Choice(shared_relevance(), question, passages, cost_as_text(passages, self.count))
            kept_texts = choice.choose(Length(most=most))
            if not any(kept.ranges for kept in kept_texts):
                kept_texts = choice.choose(Length(wanted=most))  # no sentence fits: the best one, however long
            pairs = zip(passages, kept_texts, strict=True)
            shortened = [_MARKS.sub(r"\1", elide(passage.text, kept, self.count)[0]) for passage, kept in pairs]
            legible = dict(zip(legible, shortened, strict=True))
        documents = batch.with_texts([legible.get(index, text) for index, text in enumerate(batch.texts)])
        return documents if isinstance(documents, list) else [documents]

    def _legible(self, texts: Sequence[str]) -> list[str | None]:
        """Return passages as text, Z-spans by what they keep word for word; None for one that cannot be read so."""
        passages = [list(split_at_spans(text)) for text in texts]
        spans = {part.text: self.parse(part.text) for parts in passages for part in parts if not isinstance(part, str)}
        runs = {span: [run for run in verbatim_runs(tokens) if len(run) >= RUN] for span, tokens in spans.items()}
        verbatim = sum(len(run) for span_runs in runs.values() for run in span_runs)
        if 2 * verbatim < sum(map(len, spans.values())):
            return [
                text if all(isinstance(part, str) for part in parts) else None
                for text, parts in zip(texts, passages, strict=True)
            ]
        span_texts = {
            span: f" {ELISION} ".join(self.decode([token.anchor for token in run]).strip() for run in span_runs)
            or NOTHING
            for span, span_runs in runs.items()
        }
        return [
            escape_literal("".join(part if isinstance(part, str) else span_texts[part.text] for part in parts))
            for parts in passages
        ]
