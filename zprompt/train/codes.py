"""Codes learned end to end with their reader: a text becomes embeddings, which an LLM with a LoRA reads.

    --input codes     anchors stay, and each run of dropped tokens becomes sub-codes that are added to its anchor; with
                      --codes 1 only the number of sub-codes carries information: the control, all else the same

        z = E[anchor] + gap[g] + Σ_j C[j, k_j]        k_j = argmax (head h)     h: state at the end of segment j

    --input paper-a   as in arXiv 2603.25340: the text is translated to codes of one flat codebook, one by one

        z_t = C[k_t]        k_t = argmax (C h_t) of V codes and "end of Z"       h_t: state after text, z_1 … z_t-1

h is a hidden state of the same LLM with another LoRA, the compressor. In training, k is sampled (Gumbel-softmax) with
the straight-through gradient of y = onehot(k) + p - stop(p), p = softmax((logits + noise) / temperature). Both penalise
uneven usage of the codes, 1 - H(mean p) / log V. Paper A also has a length penalty and a commitment loss (e: the mean
embedding under p, c: the chosen one). A sampled length K has no gradient, so the penalty is its expectation over
P(K = t) = p_t(end) Π_s<t (1 - p_s(end)):

    LENGTH Σ_t P(K = t) (t / |X| - 1/r)²  +  COMMITMENT (|stop(c) - e|² + 0.25 |c - stop(e)|²) / variance

Paper A has three LoRAs (compressor; decompressor, for repetition; inferencer, for all else), `codes` has two
(compressor, reader). Paper A uses scheduled sampling: a growing share of the tokens before each target is replaced by
the reader's own predictions, from a first pass without gradients. Only tokens of the text are ever predicted: the
softmax is over the LLM's own vocabulary.

A packed sequence holds all tokens of a text to compress; the gap of an anchor says how many tokens after it are
dropped. They are removed once the compressor has read them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import islice, takewhile
from pathlib import Path
from typing import TypeAlias, cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from zprompt.errors import CheckpointError
from zprompt.llm import Backbone, LlamaDecoder, Lora, load_tensors, read_lora, write_lora
from zprompt.train.packing import Batch, PackedAttention, PackedSequence, Positions, make_batch
from zprompt.train.reader_model import ReaderModel, decoder_with_loras

USAGE = 0.1  # weight of the penalty on uneven usage of our codes
FLAT_USAGE = 1.0  # the same for paper A's, whose codebook collapses at 0.1 (tests/train/test_codes.py)
LENGTH, COMMITMENT, COMMITMENT_BACK = 10.0, 0.1, 0.25  # weights of paper A's other penalties
TEMPERATURES = (1.0, 0.3)  # at the beginning and the end of training
SAMPLED = 0.25  # share of tokens that scheduled sampling replaces at the end of training
LONGEST = 1.5  # codes of a text, at most, as a multiple of |X| / r
COMPRESSOR = "compressor"  # the LoRA that writes codes; the others read
MAX_GAP = 23  # longer gaps share its embedding
CODES_FILE = "codes.safetensors"
CONFIG_FILE = "codes.json"


@dataclass(frozen=True, slots=True)
class CodesConfig:
    """The form of the codes."""

    kind: str  # "codes" or "paper-a"
    codes: int  # V, values of a code
    tokens_per_code: int  # dropped tokens that share a sub-code
    layer: int  # before which sub-codes are added; 0: to the embeddings
    ratio: float  # r, source tokens per code that paper A aims at
    start_id: int  # token that starts every text


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """The randomness of a training step."""

    generator: torch.Generator
    done: float  # share of the run that is done

    @property
    def temperature(self) -> float:
        """Return the temperature of the softmax."""
        first, last = TEMPERATURES
        return float(first * (last / first) ** self.done)

    def gumbel(self, like: Tensor) -> Tensor:
        """Sample Gumbel noise in the shape of a tensor."""
        uniform = torch.rand(like.shape, generator=self.generator).clamp(1e-9, 1 - 1e-7)
        return -(-uniform.log()).log().to(like.device)


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A batch whose texts are compressed, before the dropped tokens are removed."""

    keep: Tensor  # (B, T) True where the reader has a position
    vectors: Tensor  # (B, T, D) input embeddings
    added: Tensor | None  # (B, T, D) sub-codes that are added before a later layer
    penalty: Tensor  # ()


def choose(logits: Tensor, noise: Noise | None) -> tuple[Tensor, Tensor]:
    """Choose codes.

    :param logits: (..., V).
    :param noise: The noise to sample with; None: take the likeliest codes.
    :return: One-hot codes with the gradient of the soft ones, and the probabilities, (..., V) each.
    """
    probabilities = logits.softmax(-1)
    soft = probabilities if noise is None else ((logits + noise.gumbel(logits)) / noise.temperature).softmax(-1)
    hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
    return hard + soft - soft.detach(), probabilities


def usage_penalty(probabilities: Tensor) -> Tensor:
    """Return 1 - H / log V of the mean of n distributions, (n, V); 0 if all codes are used equally."""
    if probabilities.shape[1] == 1:
        return probabilities.new_zeros(())
    mean = probabilities.mean(0)
    entropy = -(mean * mean.clamp(min=1e-9).log()).sum()
    return 1 - entropy / torch.tensor(float(probabilities.shape[1])).log()


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Runs of dropped tokens that share a sub-code; n of them."""

    dropped: Tensor  # (B, T) True where a token is dropped
    rows: Tensor  # (n,) the sequence of each segment ...
    firsts: Tensor  # (n,) ... the column of its first token ...
    ends: Tensor  # (n,) ... of its last ...
    anchors: Tensor  # (n,) ... and of the anchor before it
    slots: Tensor  # (n,) which of the anchor's sub-codes it has


@dataclass(frozen=True, slots=True, eq=False)
class Translation:
    """R texts in codes."""

    vectors: Tensor  # (R, K + 1, D) the embeddings of the codes and the end
    codes: Tensor  # (R, K)
    lengths: Tensor  # (R,) codes of each text
    penalty: Tensor  # ()


class SpanCodes(nn.Module):
    """Sub-codes of the tokens that are dropped after an anchor."""

    adapters = (COMPRESSOR, "reader")

    def __init__(self, config: CodesConfig, vectors: Tensor, seed: int = 0) -> None:
        """Start with small codes, so that anchors are read almost like plain tokens.

        :param config: The form of the codes.
        :param vectors: (V, D), the LLM's embeddings.
        :param seed: Seed of the random start.
        """
        super().__init__()
        self.config = config
        random, width = torch.Generator().manual_seed(seed), vectors.shape[1]
        slots = -(-MAX_GAP // config.tokens_per_code)
        deviation = 0.1 * float(vectors.float().std())
        self.gap = nn.Parameter(torch.zeros(MAX_GAP + 1, width))
        self.table = nn.Parameter(torch.randn(slots, config.codes, width, generator=random) * deviation)
        self.head = nn.Parameter(torch.randn(config.codes, width, generator=random) / width**0.5)

    def reader_of(self, task: str) -> str:
        """Return the name of the LoRA that does a task."""
        return "reader"

    def encode(self, model: CodesModel, batch: Batch, vectors: Tensor, noise: Noise | None) -> Encoded:
        """Compress the texts of a batch.

        :param model: The model that has these codes.
        :param batch: Packed sequences.
        :param vectors: (B, T, D), the embeddings of all tokens.
        :param noise: The noise to sample codes with; None: take the likeliest ones.
        :return: The batch in codes.
        """
        gaps = batch.gaps.to(vectors.device)
        segments = self.segments(gaps)
        rows = segments.rows
        if self.config.codes == 1:
            logits = vectors.new_zeros(len(rows), 1)  # there is nothing to choose
        else:
            logits = model.compress(batch, vectors)[rows, segments.ends] @ self.head.T
        chosen, probabilities = choose(logits, noise)
        added = torch.zeros_like(vectors)
        for slot, table in enumerate(self.table):
            mask = segments.slots == slot
            if bool(mask.any()):
                added = added.index_put((rows[mask], segments.anchors[mask]), chosen[mask] @ table, accumulate=True)
        with_gaps = vectors + torch.where(gaps[..., None] > 0, self.gap[gaps.clamp(max=MAX_GAP)], 0.0)
        penalty = USAGE * usage_penalty(probabilities) if len(rows) else vectors.new_zeros(())
        later = self.config.layer > 0
        return Encoded(~segments.dropped, with_gaps if later else with_gaps + added, added if later else None, penalty)

    def segments(self, gaps: Tensor) -> Segments:
        """Cut the dropped tokens into segments, each of which has a sub-code.

        :param gaps: (B, T).
        :return: The segments.
        """
        size, length = self.config.tokens_per_code, gaps.shape[1]
        columns = torch.arange(length, device=gaps.device).expand_as(gaps)
        anchors = torch.where(gaps > 0, columns, -1).cummax(1).values
        distance, gap = columns - anchors, gaps.gather(1, anchors.clamp(min=0))
        dropped = (anchors >= 0) & (distance > 0) & (distance <= gap)
        last = (distance % size == 0) | (distance == gap) | (columns == length - 1)
        rows, ends = (dropped & last).nonzero(as_tuple=True)
        offset = distance[rows, ends] - 1
        firsts = ends - offset % size
        slots = (offset // size).clamp(max=len(self.table) - 1)
        return Segments(dropped, rows, firsts, ends, anchors[rows, ends], slots)


class Codebook(nn.Module):
    """One flat codebook with an end of Z, to which the text is translated code by code."""

    adapters = (COMPRESSOR, "decompressor", "inferencer")

    def __init__(self, config: CodesConfig, vectors: Tensor, seed: int = 0) -> None:
        """Start with random codes on the scale of the token embeddings.

        :param config: The form of the codes.
        :param vectors: (V, D), the LLM's embeddings.
        :param seed: Seed of the random start.
        """
        super().__init__()
        self.config = config
        random, deviation = torch.Generator().manual_seed(seed), float(vectors.float().std())
        # The codes, the end of Z, and the input that asks for the first code.
        self.codes = nn.Parameter(torch.randn(config.codes + 2, vectors.shape[1], generator=random) * deviation)

    def reader_of(self, task: str) -> str:
        """Return the name of the LoRA that does a task."""
        return "decompressor" if task == "repetition" else "inferencer"

    def encode(self, model: CodesModel, batch: Batch, vectors: Tensor, noise: Noise | None) -> Encoded:
        """Compress the texts of a batch; as in `SpanCodes.encode`."""
        gaps = batch.gaps.to(vectors.device)
        rows, firsts = gaps.nonzero(as_tuple=True)
        trunk_sizes = (batch.layout[1] == 0).sum(1).to(gaps.device)
        sizes = torch.minimum(gaps[rows, firsts] + 1, trunk_sizes[rows] - firsts)
        keep, vectors = torch.ones_like(gaps, dtype=torch.bool), vectors.clone()
        if not len(rows):
            return Encoded(keep, vectors, None, vectors.new_zeros(()))
        offsets = torch.arange(int(sizes.max()), device=gaps.device)
        inside = offsets < sizes[:, None]  # (R, n)
        texts = vectors[rows[:, None], (firsts[:, None] + offsets).clamp(max=gaps.shape[1] - 1)]
        translation = self.translate(model, texts, inside, noise)
        for index, (row, first, size, length) in enumerate(
            zip(rows.tolist(), firsts.tolist(), sizes.tolist(), translation.lengths.tolist(), strict=True)
        ):
            vectors[row, first : first + length + 1] = translation.vectors[index, : length + 1]
            keep[row, first + length + 1 : first + size] = False
        return Encoded(keep, vectors, None, translation.penalty)

    def translate(self, model: CodesModel, texts: Tensor, inside: Tensor, noise: Noise | None) -> Translation:
        """Write codes one by one.

        :param model: The model.
        :param texts: (R, n, D), embeddings.
        :param inside: (R, n), False for padding.
        :param noise: The noise to sample codes with; None: take the likeliest ones.
        :return: The codes.
        """
        count, end = len(texts), self.config.codes
        sizes = inside.sum(1)
        limits = torch.minimum((LONGEST * sizes / self.config.ratio).ceil().long(), sizes - 1).clamp(min=1)
        start = model.vectors[self.config.start_id].expand(count, 1, -1)
        embedding = self.codes[-1].expand(count, 1, -1)
        embeddings, all_logits, chosen_ids = [], [], []
        with model.adapter(COMPRESSOR):
            cache = _GrowingCache(torch.cat((torch.ones_like(inside[:, :1]), inside), 1))
            model.run(torch.cat((start, texts), 1), cache)
            for step in range(int(limits.max())):
                state = model.run(embedding, cache)[:, 0].float()
                logits = state @ self.codes[:-1].T  # (R, V + 1)
                if step == 0:
                    logits = logits.index_fill(1, torch.tensor([end], device=logits.device), -1e4)
                chosen, _ = choose(logits, noise)
                all_logits.append(logits)
                chosen_ids.append(chosen.argmax(1))
                embedding = (chosen @ self.codes[:-1])[:, None]
                embeddings.append(embedding)
                if noise is None and bool(((torch.stack(chosen_ids) == end).any(0) | (step + 1 >= limits)).all()):
                    break
        embeddings.append(self.codes[end].expand(count, 1, -1))
        codes = torch.stack(chosen_ids, 1)
        ended = codes == end
        first_end = torch.where(ended.any(1), ended.int().argmax(1), ended.shape[1])
        lengths = torch.minimum(first_end, limits)
        vectors = torch.cat(embeddings, 1)
        vectors = vectors.index_put((torch.arange(count, device=lengths.device), lengths), self.codes[end])
        probabilities = torch.stack(all_logits, 1).softmax(-1)  # (R, K, V + 1)
        return Translation(vectors, codes, lengths, self._penalty(probabilities, vectors, lengths, sizes, limits))

    def _penalty(
        self, probabilities: Tensor, vectors: Tensor, lengths: Tensor, sizes: Tensor, limits: Tensor
    ) -> Tensor:
        """Compute the penalties on length, usage and commitment."""
        steps = torch.arange(probabilities.shape[1], device=lengths.device)
        end = probabilities[..., -1] * (steps < limits[:, None])
        survival = (1 - end).cumprod(1)  # P(K > step)
        ends_here = end * torch.cat((torch.ones_like(survival[:, :1]), survival[:, :-1]), 1)  # P(K = step)
        error = (steps / sizes[:, None] - 1 / self.config.ratio) ** 2
        error_at_limit = (limits / sizes - 1 / self.config.ratio) ** 2
        length = ((ends_here * error).sum(1) + survival[:, -1] * error_at_limit).mean()
        used = steps < lengths[:, None]
        distributions = probabilities[..., :-1][used]
        distributions = distributions / distributions.sum(1, keepdim=True)
        table = self.codes[: self.config.codes]
        mean, chosen = distributions @ table, vectors[:, :-1][used]
        commitment = (chosen.detach() - mean).pow(2).mean() + COMMITMENT_BACK * (chosen - mean.detach()).pow(2).mean()
        scale = table.detach().var()
        return LENGTH * length + FLAT_USAGE * usage_penalty(distributions) + COMMITMENT * commitment / scale


CodeEmbedding: TypeAlias = SpanCodes | Codebook


def new_codes(config: CodesConfig, vectors: Tensor, seed: int = 0) -> CodeEmbedding:
    """Make codes of either kind."""
    return Codebook(config, vectors, seed) if config.kind == "paper-a" else SpanCodes(config, vectors, seed)


@dataclass(frozen=True, slots=True, eq=False)
class CodesModel(ReaderModel):
    """An LLM that writes codes and reads them, with a LoRA for each."""

    def hidden(self, batch: Batch) -> Tensor:
        """Return the hidden states that predict the targets of a batch, (N, D), from the likeliest codes."""
        return self.train_hidden(batch, None)[0]

    def train_hidden(self, batch: Batch, noise: Noise | None) -> tuple[Tensor, Tensor]:
        """Return the same from sampled codes, and the penalty on the codes."""
        vectors = self.vectors[batch.ids.to(self.vectors.device)]
        encoded = self.codes.encode(self, batch, vectors, noise)
        inputs = _ReaderInputs(self, batch, encoded)
        if noise and isinstance(self.codes, Codebook) and noise.done:
            inputs = self._with_predictions(batch, encoded, inputs, noise)
        return inputs.hidden(), encoded.penalty

    @torch.no_grad()
    def write(self, sequence: PackedSequence, end_id: int, most: int) -> list[int]:
        """Continue a sequence greedily until the text ends.

        :param sequence: A trunk, with one branch at its end at most.
        :param end_id: The token that ends a text.
        :param most: Tokens to write, at most.
        :return: Their ids, without the end.
        """
        batch = make_batch([sequence])
        encoded = self.codes.encode(self, batch, self.vectors[batch.ids.to(self.vectors.device)], None)
        tokens = islice(_ReaderInputs(self, batch, encoded).generate(), most)
        return list(takewhile(lambda token: token != end_id, tokens))

    @property
    def codes(self) -> CodeEmbedding:
        """Return the codes."""
        return cast(CodeEmbedding, self.embedding)

    def length(self, trunk: Positions) -> int:
        """Count the positions that a trunk takes; of paper A's codes, as many as `ratio` aims at."""
        gap = int(trunk.gaps.sum())
        ratio = self.codes.config.ratio
        return len(trunk) - gap if isinstance(self.codes, SpanCodes) else len(trunk) - round(gap * (1 - 1 / ratio))

    def run(self, embedded: Tensor, attention: object) -> Tensor:
        """Run the decoder at the model's precision, (B, T, D) to (B, T, D)."""
        with torch.autocast(embedded.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            return self.decoder.run(embedded, attention).float()  # type: ignore[arg-type]

    def compress(self, batch: Batch, vectors: Tensor) -> Tensor:
        """Return the compressor's hidden states of the trunks, (B, T, D); zeros elsewhere."""
        size = int((batch.layout[1] == 0).sum(1).max())
        layout = [tensor[:, :size] for tensor in batch.layout]
        layout[1] = layout[1].where(layout[1] == 0, -1)
        attention = PackedAttention(*(tensor.to(vectors.device) for tensor in layout))
        with self.adapter(COMPRESSOR):
            states = self.run(vectors[:, :size], attention)
        return nn.functional.pad(states, (0, 0, 0, vectors.shape[1] - size))

    @contextmanager
    def adapter(self, name: str) -> Iterator[None]:
        """Make one LoRA the active one."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        for module in self.decoder.modules():
            if isinstance(module, BaseTunerLayer):
                module.set_adapter(name)
        for key, parameter in self.decoder.named_parameters():  # set_adapter froze the others, but all are trained
            if ".lora_" in key:
                parameter.requires_grad_(True)
        yield

    def _with_predictions(self, batch: Batch, encoded: Encoded, inputs: _ReaderInputs, noise: Noise) -> _ReaderInputs:
        """Replace some of the tokens before each target by the reader's predictions: scheduled sampling."""
        with torch.no_grad():
            predictions = (inputs.hidden() @ self.head.T).argmax(1)
        targets, device = batch.targets, predictions.device
        rows, columns = targets.rows.to(device), targets.columns.to(device) + 1
        is_input = batch.ids.to(device)[rows, columns.clamp(max=batch.ids.shape[1] - 1)] == targets.ids.to(device)
        sampled = torch.rand(len(targets), generator=noise.generator).to(device) < SAMPLED * noise.done
        mask = is_input & sampled
        vectors = encoded.vectors.index_put((rows[mask], columns[mask]), self.vectors[predictions[mask]])
        return _ReaderInputs(self, batch, replace(encoded, vectors=vectors))


class _ReaderInputs:
    """The reader's inputs of a batch: the positions that are kept, without the holes between them."""

    def __init__(self, model: CodesModel, batch: Batch, encoded: Encoded) -> None:
        positions, owners, forks = (tensor.to(encoded.keep.device) for tensor in batch.layout)
        keep = encoded.keep & (owners >= 0)
        counts = keep.cumsum(1)
        size = int(counts[:, -1].max())
        index = torch.argsort(~keep, dim=1, stable=True)[:, :size]
        valid = torch.arange(size, device=keep.device) < counts[:, -1:]
        trunk = owners == 0
        fork = counts.gather(1, forks.clamp(max=counts.shape[1]) - 1)
        positions = torch.where(trunk, counts - 1, fork + positions - forks)
        columns = batch.targets.columns.to(keep.device)
        self.model, self.tasks = model, batch.tasks
        self.layout = (
            positions.gather(1, index) * valid,
            owners.gather(1, index).where(valid, -1),
            torch.where(trunk, size, fork).gather(1, index),
        )
        vector_index = index[..., None].expand(-1, -1, encoded.vectors.shape[2])
        self.embedded = encoded.vectors.gather(1, vector_index)
        self.added = None if encoded.added is None else encoded.added.gather(1, vector_index)
        self.rows = batch.targets.rows.to(keep.device)
        self.columns = counts[self.rows, columns] - 1

    def hidden(self) -> Tensor:
        """Run each task with its LoRA, and return the states that predict the targets, (N, D)."""
        model = self.model
        readers = [model.codes.reader_of(task) for task in self.tasks]
        hidden = torch.zeros(len(self.rows), self.embedded.shape[2], device=self.embedded.device)
        for name in dict.fromkeys(readers):
            chosen = torch.tensor([reader == name for reader in readers], device=self.rows.device)
            index = chosen.cumsum(0) - 1
            attention = PackedAttention(*(tensor[chosen] for tensor in self.layout))
            with model.adapter(name), self._add_before_layer(chosen):
                states = model.run(self.embedded[chosen], attention)
            mask = chosen[self.rows]
            hidden = hidden.index_put((mask,), states[index[self.rows[mask]], self.columns[mask]])
        return hidden

    def generate(self) -> Iterator[int]:
        """Yield the tokens of the greedy continuation of the only sequence, without an end."""
        model, [task] = self.model, self.tasks
        cache = _GrowingCache(torch.ones_like(self.layout[0], dtype=torch.bool))
        with model.adapter(model.codes.reader_of(task)):
            with self._add_before_layer(torch.tensor([True], device=self.embedded.device)):
                states = model.run(self.embedded, cache)
            while True:
                token = int((states[0, -1] @ model.head.T).argmax())
                yield token
                states = model.run(model.vectors[token][None, None], cache)

    @contextmanager
    def _add_before_layer(self, chosen: Tensor) -> Iterator[None]:
        """Add the sub-codes of the chosen sequences before the config's layer, if it is not the first."""
        added = self.added
        if added is None:
            yield
            return
        layer = self.model.decoder.layers[self.model.codes.config.layer]
        hook: Callable[..., object] = lambda module, args: (args[0] + added[chosen], *args[1:])  # noqa: E731
        handle = layer.register_forward_pre_hook(hook)
        try:
            yield
        finally:
            handle.remove()


class _GrowingCache:
    """A cache that gradients pass through, one position a call; `KeyValueCache` writes in place."""

    def __init__(self, valid: Tensor) -> None:
        """Hold which positions of the first call are no padding, (R, S)."""
        self._valid, self._first = valid, True
        self._stored: dict[int, tuple[Tensor, Tensor]] = {}
        self.positions = torch.arange(valid.shape[1], device=valid.device)[None]
        self._mask: Tensor | None = None

    def advance(self, count: int) -> _GrowingCache:
        """Prepare a call: the first for all positions of the texts, each later one for one more."""
        if self._first:
            index = torch.arange(count, device=self._valid.device)
            causal = index[None, :] <= index[:, None]
            diagonal = torch.eye(count, dtype=torch.bool, device=index.device)
            self._mask = (causal & (self._valid[:, None, :] | diagonal))[:, None]
            self._first = False
            return self
        self.positions = self._valid.sum(1, keepdim=True)
        self._valid = torch.cat((self._valid, torch.ones_like(self._valid[:, :1])), 1)
        self._mask = self._valid[:, None, None, :]
        return self

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Append the new keys and values, and let the new positions attend to all."""
        if layer in self._stored:
            old_keys, old_values = self._stored[layer]
            keys, values = torch.cat((old_keys, keys), 2), torch.cat((old_values, values), 2)
        self._stored[layer] = keys, values
        return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=self._mask, enable_gqa=True)


# On disk.


def write_codes(folder: Path, codes: CodeEmbedding, loras: dict[str, Lora], backbone: Backbone) -> None:
    """Write codes and LoRAs to a folder, in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {**asdict(codes.config), "backbone": backbone.name, "fingerprint": backbone.weights_fingerprint}
    (folder / CONFIG_FILE).write_text(json.dumps(values, indent=2) + "\n", "utf-8")
    state = {name: tensor.detach().half().cpu().contiguous() for name, tensor in codes.state_dict().items()}
    save_file(state, folder / CODES_FILE)
    for name, lora in loras.items():
        write_lora(folder / name, lora, backbone.name)


def load_codes(folder: Path, backbone: Backbone) -> CodesModel:
    """Load what `write_codes` wrote; raise CheckpointError if there are no codes, or those of another LLM."""
    try:
        values = json.loads((folder / CONFIG_FILE).read_text("utf-8"))
        name, fingerprint = values.pop("backbone"), values.pop("fingerprint")
        codes = new_codes(CodesConfig(**values), backbone.embeddings)
        codes.load_state_dict({key: tensor.float() for key, tensor in load_tensors(folder / CODES_FILE).items()})
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder} has no codes: {error!r}. Train some with `zprompt train reader --input codes`."
        ) from error
    backbone.require_weights(fingerprint, name, f"What wrote the codes in {folder}", "Load that one.")
    loras = {adapter: read_lora(folder / adapter) for adapter in codes.adapters}
    decoder: LlamaDecoder = decoder_with_loras(backbone, loras)
    return CodesModel(
        decoder.requires_grad_(False), codes.to(backbone.device), backbone.embeddings, backbone.output_embeddings
    )
