"""INTERIM: the reader's old loop and data, until benchmarks answer by `Reader.answer`; then this folder goes."""
