"""A tiny codec in a folder, as `zprompt.load` takes it: its Llama knows four sentences, and it is exact."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from zprompt.codec import Codec, CodecSettings
from zprompt.llm import load_backbone

SENTENCES = [
    "The keeper lit the lamp of the lighthouse, and the ships came into the harbour in the night.",
    "The bell of the church was struck by hand until the war, and the clock stood still.",
    "In 1834 the river was full of mud and sand, and the path was under water.",
    "There is the text, there is the code, and there is what the code leaves for the text.",
]
STEPS = 40  # of training


def save_backbone(folder: Path) -> Path:
    """Save a Llama of one layer that learned the sentences, so that they become shorter, and a byte-level tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=450, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        for sentence in SENTENCES:
            ids = torch.tensor([[0, *tokenizer.encode(sentence).ids]])
            model(ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def save_codec(folder: Path, backbone_folder: Path, margin: float = 1e-4) -> Path:
    """Save a codec of small windows over a backbone; another margin makes it another codec."""
    backbone = load_backbone(str(backbone_folder), device="cpu")
    Codec(backbone, CodecSettings(window=32, margin=margin)).save_pretrained(folder)
    return folder
