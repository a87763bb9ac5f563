"""The command line: `main` is the program, with a module per group of commands.

Importing it is light: a command imports torch only when it needs a codec.
"""
