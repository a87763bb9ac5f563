"""All variants of LTSC are lossless baselines."""

import pytest

from zprompt.baselines import ltsc
from zprompt.baselines.ltsc import Ltsc, LtscZTokens, Mode, ReadableLtsc, TunedLtsc
from zprompt.baselines.protocol import LosslessBaseline
from zprompt.codec import Codec, shared_codec
from zprompt.errors import DamagedSequenceError, OptionError
from zprompt.llm import Backbone

TEXT = "The quick brown fox jumps over the lazy dog, and the dog sleeps on in the sun. " * 3


class TestVariants:
    def test_all_are_lossless_baselines_with_names(self, tiny_backbone: Backbone, small_codec: Codec) -> None:
        variants = [
            Ltsc(tokenizer=tiny_backbone),
            Ltsc(Mode.FLAT, tiny_backbone),
            Ltsc(Mode.HIERARCHICAL, tiny_backbone),
            Ltsc(Mode.LZW, tiny_backbone),
            TunedLtsc(tiny_backbone),
            ReadableLtsc(tiny_backbone),
            LtscZTokens(codec=small_codec),
        ]
        names = ["ltsc", "ltsc-flat", "ltsc-hierarchical", "ltsc-lzw", "ltsc-tuned", "ltsc-text", "ltsc-ztokens"]
        assert [variant.name for variant in variants] == names
        for variant in variants:
            assert isinstance(variant, LosslessBaseline)
            shortened = variant.shorten(TEXT, budget=5, query="Who jumps?")
            assert shortened.baseline == variant.name
            assert shortened.source_tokens == len(tiny_backbone.encode(TEXT)) > shortened.tokens
            assert variant.restore(shortened.text) == TEXT

    def test_the_text_of_meta_tokens_is_their_ids(self, tiny_backbone: Backbone) -> None:
        shortened = Ltsc(tokenizer=tiny_backbone).shorten(TEXT)
        assert [int(number) for number in shortened.text.split()] == ltsc.encode_text(TEXT, tiny_backbone)
        assert Ltsc(tokenizer=tiny_backbone).restore("") == ""

    def test_a_negative_budget_is_refused(self, tiny_backbone: Backbone) -> None:
        with pytest.raises(OptionError, match="at least 0 tokens"):
            ReadableLtsc(tiny_backbone).shorten(TEXT, budget=-1)

    @pytest.mark.parametrize("text", ["one", "1  2", "-1", "1 ", "9" * 30])
    def test_a_text_that_is_no_list_of_ids_is_refused(self, tiny_backbone: Backbone, text: str) -> None:
        with pytest.raises(DamagedSequenceError, match="decimal ids"):
            Ltsc(tokenizer=tiny_backbone).restore(text)

    def test_text_that_looks_like_a_reference_or_a_z_span_comes_back(self, small_codec: Codec) -> None:
        method = LtscZTokens(codec=small_codec)
        shortened = method.shorten("A codec\x1b writes é [z1:a text\\ as Z-tokens. " * 8)
        assert shortened.tokens < shortened.source_tokens
        assert method.restore(shortened.text) == "A codec\x1b writes é [z1:a text\\ as Z-tokens. " * 8

    @pytest.mark.default_model
    @pytest.mark.slow
    def test_the_shipped_codec_restores_a_shortened_text(self) -> None:
        text = "The ferry leaves Harwich at nine and reaches the Hook of Holland at five. " * 3
        method = LtscZTokens(codec=shared_codec(device="cpu", quantization="none"))
        assert method.restore(method.shorten(text).text) == text
