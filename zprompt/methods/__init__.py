"""Give other ways of shortening a prompt, behind one protocol (`protocol.py`): what Z-tokens are compared with."""
