"""Z-tokens become input embeddings."""

import torch

from zprompt.codec.settings import CodecSettings
from zprompt.reader.embedding import ZEmbedding

SETTINGS = CodecSettings(subcodes=3, subcode_size=16, max_gap=6, width=32, span_width=16, window=32)
ANCHORS = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
GAPS = torch.tensor([0, 1, 3, 6])
CODES = torch.tensor([[0, 0, 0], [1, 2, 3], [4, 5, 6], [7, 8, 15]])


def spoken(codes: bool = True) -> ZEmbedding:
    embedding = ZEmbedding(SETTINGS, 8, codes)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for parameter in embedding.parameters():
            torch.nn.init.normal_(parameter)
    return embedding


def test_a_new_embedding_leaves_the_anchors_alone() -> None:
    assert torch.equal(ZEmbedding(SETTINGS, 8)(ANCHORS, GAPS, CODES), ANCHORS)


def test_a_z_token_without_a_span_is_its_anchor() -> None:
    embedded = spoken()(ANCHORS, GAPS, CODES)
    assert torch.equal(embedded[0], ANCHORS[0])
    assert not torch.isclose(embedded[1:], ANCHORS[1:]).all(dim=1).any()


def test_a_value_has_a_vector_for_each_role() -> None:
    embedding = spoken()
    one_token_each = embedding(ANCHORS[:1], torch.tensor([3]), torch.tensor([[4, 5, 6]]))
    two_tokens_each = embedding(ANCHORS[:1], torch.tensor([6]), torch.tensor([[4, 5, 6]]))
    assert not torch.allclose(one_token_each - embedding.gap[3], two_tokens_each - embedding.gap[6])


def test_the_order_of_sub_codes_counts() -> None:
    embedding = spoken()
    there, back = (embedding(ANCHORS[:1], torch.tensor([6]), torch.tensor([code])) for code in ([1, 2, 3], [3, 2, 1]))
    assert not torch.allclose(there, back)


def test_codes_can_be_left_out() -> None:
    embedding = spoken(codes=False)
    assert torch.equal(embedding(ANCHORS, GAPS, CODES), embedding(ANCHORS, GAPS, torch.zeros_like(CODES)))
    assert torch.allclose(embedding(ANCHORS, GAPS, CODES)[1], ANCHORS[1] + embedding.gap[1])
