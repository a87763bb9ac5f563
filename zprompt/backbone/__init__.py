"""The backbone: one frozen causal language model that compresses, decompresses and reads.

Reading order: `catalog` (which model), `download` and `store` (how it gets here), `gguf` (its 4-bit weights), `loading`
(from a name to a model), `backbone` (what the codec sees).
"""

from zprompt.backbone.backbone import Backbone
from zprompt.backbone.loading import load_backbone, pull

__all__ = ["Backbone", "load_backbone", "pull"]
