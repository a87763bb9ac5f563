"""The tasks: what shortened texts are for, one file each. `catalog` makes them; `protocol` says what one is."""
