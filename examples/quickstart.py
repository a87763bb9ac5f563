"""The whole API on one page."""

from pathlib import Path

import zprompt

text = (Path(__file__).parent / "texts" / "lighthouse.txt").read_text(encoding="utf-8")

# At the usual ratio: one document or a list of them, of str, dict, LangChain Document or LlamaIndex node.
result = zprompt.compress(text)
assert zprompt.decompress(result.documents) == text
print("usual: ", result.stats)

# At another ratio, exact as well. What is protected stays as anchors, which a reader sees.
result = zprompt.compress(text, ratio=8, protect=r"\d+|Margaret")
assert zprompt.decompress(result.documents) == text
print("at 8:1:", result.stats)

# What makes it this long: each Z-token, with the text that it stands for.
codec = zprompt.load()
for token in codec.explain(text).tokens[:8]:
    print("       ", token)

# For an LLM that knows no Z-tokens: the sentences that a question needs, as text. This loads no LLM.
result = zprompt.compress(text, query="How many times did the old man put the lamp out?", form="text")
print("text:  ", result.documents, result.stats)
