"""The trained parts of a codec: a code head that encodes a span, and a span head that decodes it.

    code head    sub-code of a segment = argmax_k  out[role] · norm(gelu(W_role · [A e(x) for x in segment]))
    span head    logits[t] = E (h[t] + d),   d = out · u,   u = v + gelu(mid · v),   v = gelu(z)
                 z = left context + right context
                 left context  = previous(e(x[t-1])) + hidden(norm h[t])
                 right context = gate[g-j] ∘ next(e(b)) + forward[j] + backward[g-j]
                               + own[place, sub-code] + following[role, next sub-code]

for token j of a span of g tokens with next anchor b; e(x) is the backbone's input embedding of x at unit scale, E its
output embedding, h[t] its hidden state. The span head corrects what the LLM expects, it does not replace it: an
untrained one (out = 0) leaves the LLM's own prediction. z is a sum of parts that depend on few things each, so a
compressor can compute the parts once and check every span of a text with additions and one W x W product for each
token. The right context needs no LLM: compressor and decompressor compute it from the Z-tokens by `right_context`.

Roles, places and segments: see code_layout.py.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from zprompt.codec.code_layout import Indices, layout
from zprompt.codec.settings import CodecSettings
from zprompt.errors import CheckpointError
from zprompt.llm import pad_rows
from zprompt.zspan import ZToken

SEGMENT_HIDDEN = 512  # hidden units of the code head


class CodeHead(nn.Module):
    """Classifies segments of a span: the encoder."""

    def __init__(self, settings: CodecSettings, embedding_size: int) -> None:
        """Build a head with random weights over embeddings of size D."""
        super().__init__()
        self.sizes = layout(settings.subcodes, settings.max_gap).sizes
        self.token = nn.Linear(embedding_size, settings.span_width)
        self.roles = nn.ModuleList(nn.Linear(size * settings.span_width, SEGMENT_HIDDEN) for size in self.sizes)
        self.norm = nn.LayerNorm(SEGMENT_HIDDEN)
        scale = SEGMENT_HIDDEN**-0.5
        self.out = nn.Parameter(torch.randn(len(self.sizes), SEGMENT_HIDDEN, settings.subcode_size) * scale)

    def forward(self, role: int, embedded: Tensor) -> Tensor:
        """Return the logits of the sub-code, (N, K), of segments of one role.

        :param role: The role.
        :param embedded: (N, size, D), embeddings of the segments' tokens at unit scale.
        :return: (N, K).
        """
        return self.classify(role, self.token(embedded))

    def classify(self, role: int, tokens: Tensor) -> Tensor:
        """Return the same of tokens, (N, size, span_width), that went through `token` already."""
        hidden = functional.gelu(self.roles[role](tokens.flatten(1)))
        logits: Tensor = self.norm(hidden.float()) @ self.out[role]
        return logits


class SpanHead(nn.Module):
    """Corrects the LLM's hidden state by anchors and code: the decoder."""

    def __init__(self, settings: CodecSettings, embedding_size: int, hidden_size: int) -> None:
        """Build a head with random weights.

        :param settings: The codec's settings.
        :param embedding_size: Size D of the backbone's embeddings.
        :param hidden_size: Size H of the backbone's hidden states, and of its output embeddings.
        """
        super().__init__()
        cut, width, gap = layout(settings.subcodes, settings.max_gap), settings.width, settings.max_gap
        self.own = nn.Parameter(torch.randn(cut.places, settings.subcode_size, width) * 0.5)
        self.following = nn.Parameter(torch.randn(len(cut.sizes), settings.subcode_size, width) * 0.1)
        self.forward_place = nn.Parameter(torch.randn(gap, width) * 0.1)
        self.backward_place = nn.Parameter(torch.randn(gap + 1, width) * 0.1)
        self.next_gate = nn.Parameter(torch.ones(gap + 1, width))
        self.previous = nn.Linear(embedding_size, width)
        self.next = nn.Linear(embedding_size, width)
        self.hidden = nn.Linear(hidden_size, width, bias=False)
        self.mid = nn.Linear(width, width)
        self.out = nn.Linear(width, hidden_size)
        nn.init.normal_(self.out.weight, std=0.02)
        nn.init.zeros_(self.out.bias)

    def left_context(self, previous: Tensor, hidden: Tensor | None) -> Tensor:
        """Return the left context, (..., W).

        :param previous: (..., D), embedding of the token before, at unit scale.
        :param hidden: (..., H), hidden state, or None to leave the LLM out, as training's warm-up does.
        :return: (..., W).
        """
        z: Tensor = self.previous(previous)
        if hidden is not None:
            z = z + self.hidden(functional.layer_norm(hidden, hidden.shape[-1:]))
        return z

    def anchor_context(self, next_anchor: Tensor, distance: Tensor) -> Tensor:
        """Return the part of the right context that depends on the next anchor, (..., W).

        :param next_anchor: (..., D), its embedding at unit scale.
        :param distance: (...), tokens from the token to that anchor, 1 if it is the next.
        :return: (..., W).
        """
        z: Tensor = self.next(next_anchor) * self.next_gate[distance] + self.backward_place[distance]
        return z

    def features(self, z: Tensor) -> Tensor:
        """Return u, (..., W), from which the correction is linear, given z, (..., W)."""
        v = functional.gelu(z)
        return v + functional.gelu(self.mid(v))


class CodecHeads(nn.Module):
    """Code head and span head of one codec, over the embeddings of one backbone."""

    embeddings: Tensor  # (V, D), at unit scale

    def __init__(self, settings: CodecSettings, embeddings: Tensor, hidden_size: int) -> None:
        """Build heads with random weights.

        :param settings: The codec's settings.
        :param embeddings: (V, D), the backbone's input embeddings.
        :param hidden_size: Size H of the backbone's hidden states.
        """
        super().__init__()
        self.settings = settings
        self.scale = float(embeddings.float().std())
        self.register_buffer("embeddings", embeddings.float() / self.scale, persistent=False)
        self.code_head = CodeHead(settings, embeddings.shape[1])
        self.span_head = SpanHead(settings, embeddings.shape[1], hidden_size)

    def fingerprint(self) -> str:
        """Hash settings and weights into 64 hexadecimal digits."""
        digest = hashlib.sha256(self.settings.to_json().encode())
        for name, tensor in sorted(self.state_dict().items()):
            # In half precision, the form they are shipped in: heads have one fingerprint before and after saving.
            digest.update(name.encode() + tensor.detach().cpu().half().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @torch.no_grad()
    def round_to_half(self) -> None:
        """Round the weights as saving does, so that heads compute the same before and after."""
        for parameter in self.parameters():
            parameter.copy_(parameter.half())

    def save(self, path: Path) -> None:
        """Write the weights in half precision to a safetensors file."""
        save_file({name: tensor.detach().cpu().half().contiguous() for name, tensor in self.state_dict().items()}, path)

    def load(self, path: Path) -> None:
        """Read weights that `save` wrote.

        :param path: A safetensors file.
        :raises CheckpointError: If the file is missing, or does not have the weights that the settings ask for.
        """
        if not path.is_file():
            raise CheckpointError(f"No codec heads at {path}. Train them with `zprompt train codec`.")
        try:
            self.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
        except (RuntimeError, ValueError, SafetensorError) as error:
            raise CheckpointError(
                f"The heads in {path} do not fit their settings or backbone: {error}. "
                "Train new ones with `zprompt train codec`, or load the backbone that they were trained for."
            ) from error


@dataclass(frozen=True, slots=True)
class DroppedTokens:
    """The dropped tokens of one window, one row each."""

    position: Indices  # (R,): in the window
    token: Indices  # (R,): which token j of its span
    gap: Indices  # (R,): length g of the span
    anchor: Indices  # (R,): id of the next anchor b
    code: Indices  # (R, M): sub-codes of the span

    @classmethod
    def of(cls, tokens: Sequence[ZToken]) -> "DroppedTokens":
        """List the dropped tokens of a window, given its Z-tokens, the last of which drops none."""
        gaps = np.array([token.gap for token in tokens], np.int64)
        anchors = np.array([token.anchor for token in tokens], np.int64)
        codes = np.array([token.code for token in tokens], np.int64)
        owner = np.repeat(np.arange(len(tokens)), gaps)
        token = np.arange(len(owner)) - (np.cumsum(gaps) - gaps)[owner]
        start = np.cumsum(gaps + 1) - gaps  # of each span
        return cls(start[owner] + token, token, gaps[owner], np.append(anchors[1:], 0)[owner], codes[owner])


def right_context(heads: CodecHeads, dropped: DroppedTokens) -> Tensor:
    """Return the right context of dropped tokens, (R, W)."""
    head, device = heads.span_head, heads.embeddings.device
    token, gap = dropped.token, dropped.gap
    following = pad_rows(heads.embeddings[torch.from_numpy(dropped.anchor).to(device)])
    z = head.anchor_context(following, pad_rows(torch.from_numpy(gap - token).to(device)))[: len(token)]
    z = z + head.forward_place[torch.from_numpy(token)]
    cut = layout(heads.settings.subcodes, heads.settings.max_gap)
    place, follower = cut.place[gap, token], cut.follower[gap, token]
    sizes, first_place = np.asarray(cut.sizes), np.asarray(cut.first_place)
    for m in range(heads.settings.subcodes):  # a token has one sub-code or several: those whose segment holds it
        role, start, code = cut.role[gap, m], cut.start[gap, m], dropped.code[:, m]
        inside = (start <= token) & (token < start + sizes[role])
        mine = np.flatnonzero(inside)
        at = first_place[role[mine]] + token[mine] - start[mine]
        z[torch.from_numpy(mine)] += head.own[torch.from_numpy(at), torch.from_numpy(code[mine])]
        next_one = (follower == role) & (cut.follower_start[gap, token] == start) & (place >= 0)
        behind = np.flatnonzero(next_one & ~inside)
        z[torch.from_numpy(behind)] += head.following[torch.from_numpy(role[behind]), torch.from_numpy(code[behind])]
    return z
