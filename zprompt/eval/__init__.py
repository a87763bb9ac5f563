"""Measure what each way of shortening a prompt costs and keeps: what `zprompt bench` runs.

It lies in the package, and not beside the developers' benchmarks of codec and reader in `benchmarks/`, since a user who
has only the wheel runs it on data of their own; what both need lies here. The way of a run: `plan` (which cells there
are) → `workshop` (models and methods) → `tasks/` (one file each: samples, and how what is left of them is scored) →
`cells` (one method, one task, one ratio) → `run` (all cells, one after the other or in several processes) → `results`
(the JSON file, from which a run goes on) → `report`, `plots` and `page` (Markdown and HTML), `comparison` (two runs).

Every figure is a quotient of sums over samples (`figures`), so one rule gives all means, intervals and worst cases.
"""
