"""The backbone: one frozen causal language model that compresses, decompresses and reads.

Reading order: `loading` (from a name to a backbone), `catalog`, `download` and `store` (how the default one gets here),
`gguf` (its 4-bit weights), `llama` and `cache` (the model), `hub` (all other models), `backbone` (what the codec sees).
"""

from zprompt.backbone.backbone import Backbone
from zprompt.backbone.cache import Cache
from zprompt.backbone.loading import load_backbone
from zprompt.backbone.source import pull

__all__ = ["Backbone", "Cache", "load_backbone", "pull"]
