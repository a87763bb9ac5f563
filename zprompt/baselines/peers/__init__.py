"""Other packages as they are, each behind the protocol and with our model: what their authors ship is what is measured.

None is edited, none is needed. Where a package would fetch a model, it is handed the backbone; where it assumes CUDA or
an older transformers, it is given what it expects. Nothing else is helped: they get the budget once, and what comes out
is counted.
"""
