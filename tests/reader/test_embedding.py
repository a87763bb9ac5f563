"""Z-tokens become input embeddings."""

import torch

from zprompt.reader.embedding import ZEmbedding

ANCHORS = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
GAPS = torch.tensor([0, 1, 3, 6])


def random_embedding(max_gap: int = 6) -> ZEmbedding:
    """Make an embedding with a random vector for every gap, 0 included."""
    embedding = ZEmbedding(8, max_gap)
    torch.nn.init.normal_(embedding.gap, generator=torch.Generator().manual_seed(1))
    return embedding


def test_a_new_embedding_leaves_the_anchors_alone() -> None:
    assert torch.equal(ZEmbedding(8)(ANCHORS, GAPS), ANCHORS)


def test_a_gap_adds_its_vector_and_a_gap_of_zero_adds_nothing() -> None:
    embedding = random_embedding()
    embedded = embedding(ANCHORS, GAPS)
    assert torch.equal(embedded[0], ANCHORS[0])
    assert torch.equal(embedded[1:], ANCHORS[1:] + embedding.gap[GAPS[1:]])


def test_a_gap_above_the_maximum_is_read_like_the_longest() -> None:
    embedding = random_embedding(max_gap=3)
    longest = embedding(ANCHORS, torch.full((4,), 3))
    assert torch.equal(embedding(ANCHORS, torch.tensor([3, 4, 99, 10_000])), longest)
    assert not torch.isclose(embedding(ANCHORS, torch.full((4,), 2)), longest).all(dim=1).any()
