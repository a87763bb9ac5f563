"""The trained parts of a codec: a code head that encodes a span, and a span head that decodes it.

    code head    sub-code of a segment = argmax_k  out[role] · norm(gelu(W_role · [A e(x) for x in segment]))
    span head    logits[t] = E (h[t] + d),   d = out · u,   u = v + gelu(mid · v),   v = gelu(z)
                 z = left context + right context
                 left context  = previous(e(x[t-1])) + hidden(norm h[t])
                 right context = gate[g-j] ∘ next(e(b)) + forward[j] + backward[g-j]
                               + own[place, sub-code] + following[role, next sub-code]

for token j of a span of g tokens with next anchor b; e(x) is the backbone's input embedding of x at unit scale, E its
output embedding, h[t] its hidden state. The span head corrects what the LLM expects, it does not replace it: an
untrained one (out = 0) leaves the LLM's own prediction. Each term of z depends on few things, so a decompressor adds a
few vectors and does one W x W product per token. The right context needs no LLM (codes.py).

Roles, places and segments: see code_layout.py.
"""

import hashlib
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from zprompt.codec.code_layout import layout
from zprompt.codec.settings import HeadSettings
from zprompt.errors import CheckpointError
from zprompt.llm import load_tensors

SEGMENT_HIDDEN = 512  # hidden units of the code head


class CodeHead(nn.Module):
    """Classifies segments of a span: the encoder."""

    def __init__(self, settings: HeadSettings, embedding_size: int) -> None:
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
        """Return the logits, (N, K), given tokens that went through `token` already, (N, size, span_width)."""
        hidden = functional.gelu(self.roles[role](tokens.flatten(1)))
        logits: Tensor = self.norm(hidden.float()) @ self.out[role]
        return logits


class SpanHead(nn.Module):
    """Corrects the LLM's hidden state, given anchors and code: the decoder."""

    def __init__(self, settings: HeadSettings, embedding_size: int, hidden_size: int) -> None:
        """Build a head with random weights.

        :param settings: The shape of the heads.
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

        :param previous: (..., D), embedding of the previous token, at unit scale.
        :param hidden: (..., H), hidden state; None leaves the LLM out.
        :return: (..., W).
        """
        z: Tensor = self.previous(previous)
        if hidden is not None:
            z = z + self.hidden(functional.layer_norm(hidden, hidden.shape[-1:]))
        return z

    def anchor_context(self, next_anchor: Tensor, distance: Tensor) -> Tensor:
        """Return the part of the right context that depends on the next anchor, (..., W).

        :param next_anchor: (..., D), its embedding at unit scale.
        :param distance: (...), tokens from the dropped token to that anchor, 1 if they are neighbours.
        :return: (..., W).
        """
        z: Tensor = self.next(next_anchor) * self.next_gate[distance] + self.backward_place[distance]
        return z

    def features(self, z: Tensor) -> Tensor:
        """Return u, (..., W), which `out` maps to the correction, given z, (..., W)."""
        v = functional.gelu(z)
        return v + functional.gelu(self.mid(v))


class CodecHeads(nn.Module):
    """Code head and span head of one codec, over the embeddings of one backbone."""

    embeddings: Tensor  # (V, D), at unit scale

    def __init__(self, settings: HeadSettings, embeddings: Tensor, hidden_size: int) -> None:
        """Build heads with random weights.

        :param settings: The shape of the heads.
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
            # In half precision, as `save` writes them: the fingerprint is the same before and after saving.
            digest.update(name.encode() + tensor.detach().cpu().half().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @torch.no_grad()
    def round_to_half(self) -> None:
        """Round the weights to half precision, as `save` does, so that saved heads compute the same."""
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
            raise CheckpointError(
                f"No codec heads at {path}. The shipped ones are in the repository, not in the wheel; a codec without "
                "them takes fewer bits: zprompt.load()."
            )
        try:
            self.load_state_dict({name: tensor.float() for name, tensor in load_tensors(path).items()})
        except RuntimeError as error:
            raise CheckpointError(
                f"The heads in {path} do not fit their settings or backbone: {error}. "
                "Load the backbone that they were trained for, or a codec without heads."
            ) from error
