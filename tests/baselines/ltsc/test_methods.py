"""The methods behind the protocol, ids for a tuned model, and what such a model is trained on."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zprompt
from zprompt.baselines import ltsc
from zprompt.baselines.ltsc import Ltsc, LtscZTokens, MetaAlphabet, Mode, ReadableLtsc, TunedLtsc
from zprompt.baselines.protocol import LosslessBaseline
from zprompt.codec.codec import Codec
from zprompt.errors import DamagedSequenceError, InvalidTextError, OptionError
from zprompt.llm import Backbone

TEXT = "The quick brown fox jumps over the lazy dog, and the dog sleeps on in the sun. " * 3


class TestMethods:
    def test_all_are_lossless_methods_with_names(self, tiny_backbone: Backbone, small_codec: Codec) -> None:
        methods = [
            Ltsc(tokenizer=tiny_backbone),
            Ltsc(Mode.FLAT, tiny_backbone),
            Ltsc(Mode.HIERARCHICAL, tiny_backbone),
            Ltsc(Mode.LZW, tiny_backbone),
            TunedLtsc(tiny_backbone),
            ReadableLtsc(tiny_backbone),
            LtscZTokens(codec=small_codec),
        ]
        names = ["ltsc", "ltsc-flat", "ltsc-hierarchical", "ltsc-lzw", "ltsc-tuned", "ltsc-text", "ltsc-ztokens"]
        assert [method.name for method in methods] == names
        for method in methods:
            assert isinstance(method, LosslessBaseline)
            shortened = method.shorten(TEXT, budget=5, query="Who jumps?")
            assert shortened.baseline == method.name
            assert shortened.source_tokens == len(tiny_backbone.encode(TEXT)) > shortened.tokens
            assert method.restore(shortened.text) == TEXT

    def test_the_text_of_meta_tokens_is_their_ids(self, tiny_backbone: Backbone) -> None:
        shortened = Ltsc(tokenizer=tiny_backbone).shorten(TEXT)
        assert [int(number) for number in shortened.text.split()] == ltsc.encode_text(TEXT, tiny_backbone)
        assert Ltsc(tokenizer=tiny_backbone).restore("") == ""

    def test_a_negative_budget_is_refused(self, tiny_backbone: Backbone) -> None:
        with pytest.raises(OptionError, match="at least 0 tokens"):
            ReadableLtsc(tiny_backbone).shorten(TEXT, budget=-1)

    @pytest.mark.parametrize("text", ["one", "1  2", "-1", "1 ", "9" * 30])
    def test_what_are_no_ids_is_refused(self, tiny_backbone: Backbone, text: str) -> None:
        with pytest.raises(DamagedSequenceError, match="in decimal"):
            Ltsc(tokenizer=tiny_backbone).restore(text)

    def test_references_and_z_tokens_keep_what_looks_like_either(self, small_codec: Codec) -> None:
        method = LtscZTokens(codec=small_codec)
        shortened = method.shorten("A codec\x1b writes é [z1:a text\\ as Z-tokens. " * 8)
        assert shortened.tokens < shortened.source_tokens
        assert method.restore(shortened.text) == "A codec\x1b writes é [z1:a text\\ as Z-tokens. " * 8

    @pytest.mark.default_model
    @pytest.mark.slow
    def test_the_shipped_codec_gives_a_shortened_text_back(self) -> None:
        text = "The ferry leaves Harwich at nine and reaches the Hook of Holland at five. " * 3
        method = LtscZTokens(codec=zprompt.load(device="cpu", quantization="none"))
        assert method.restore(method.shorten(text).text) == text


class TestIds:
    @settings(max_examples=40)
    @given(st.text(st.one_of(st.sampled_from("ab\x1b0;"), st.characters(codec="utf-8")), max_size=20))
    def test_any_text_comes_back(self, tiny_backbone: Backbone, narrow_backbone: Backbone, text: str) -> None:
        for tokenizer in (tiny_backbone, narrow_backbone):
            try:
                ids = ltsc.encode_text(text * 3, tokenizer)
            except InvalidTextError:
                assert tokenizer is narrow_backbone  # which has no characters for some escapes
            else:
                assert ltsc.decode_text(ids, tokenizer) == text * 3

    def test_something_like_an_escape_comes_back(self, tiny_backbone: Backbone) -> None:
        text = "\x1b41; is no A"
        assert ltsc.decode_text(ltsc.encode_text(text, tiny_backbone), tiny_backbone) == text

    def test_ids_that_are_no_text_are_refused(self, tiny_backbone: Backbone) -> None:
        with pytest.raises(DamagedSequenceError, match="no text of this tokenizer"):
            ltsc.decode_text([10_000], tiny_backbone)


class TestTraining:
    def test_ids_stay_within_the_vocabulary(self, tiny_backbone: Backbone) -> None:
        alphabet = MetaAlphabet(first=500, entries=2)
        ids = tiny_backbone.encode("".join(f"{TEXT[i : i + 40]}; " for i in range(0, 120, 20)))
        inputs = ltsc.to_model_ids(ids, alphabet)
        assert len(inputs) < len(ids)
        assert alphabet.vocabulary_size == 507 > max(inputs) >= 500
        assert ltsc.decompress(inputs, alphabet) == ids

    def test_a_vocabulary_without_end_is_refused(self) -> None:
        with pytest.raises(OptionError, match=r"MetaAlphabet\(first=500, entries=500\)"):
            ltsc.to_model_ids([1], MetaAlphabet(first=500))

    def test_an_id_among_the_meta_tokens_is_refused(self) -> None:
        with pytest.raises(OptionError, match="The id 500 is not below"):
            ltsc.to_model_ids([1, 500], MetaAlphabet(first=500, entries=3))
