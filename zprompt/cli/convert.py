"""`zprompt compress` and `zprompt decompress`: files in, files out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

import zprompt
from zprompt.cli import options
from zprompt.cli.files import Content, Source, Sources, plan_outputs, read_content, read_sources, write_text
from zprompt.cli.messages import complain, figures, is_terminal, show, warn
from zprompt.documents import Document, read_documents
from zprompt.errors import DocumentTypeError, OptionError, ZPromptError, located
from zprompt.json_lines import SPANS_SUFFIX
from zprompt.progress import rich_progress

app = typer.Typer()


@app.command("compress")
def _compress(
    files: options.Inputs = None,
    output: options.Output = None,
    field: options.Field = None,
    quiet: options.Quiet = False,
    ratio: options.Ratio = None,
    max_tokens: options.MaxTokens = None,
    query: options.Query = None,
    form: options.FormName = options.Form.Z,
    count: options.CountName = "reader",
    protect: options.Protect = None,
    min_tokens: Annotated[
        int | None, typer.Option(min=1, help="Leave shorter texts as they are.", show_default=False)
    ] = None,
    on_error: options.OnErrorOption = options.OnError.RAISE,
    force: options.Force = False,
    codec: options.CodecName = "default",
    backbone: options.BackboneName = None,
    device: options.DeviceName = options.Device.AUTO,
    quantization: options.QuantizationName = options.Quantization.AUTO,
    batch_size: options.BatchSize = None,
) -> None:
    """Compress text to lossless Z-spans, or cut it down to what a question needs.

    All files are compressed together, and a ratio applies to their total: denser texts get more Z-tokens, and with a
    question, so do those that it needs. In JSON lines, each line is a text, and its title helps to find what matters.
    With a question, existing Z-spans are focused on it as well; their files keep their names.
    """
    patterns = options.protected(protect)
    focus = query is not None and bool(query.strip())

    def compress(documents: Sequence[Document]) -> Sequence[str | ZPromptError]:
        chosen = options.given(
            ratio=ratio,
            max_tokens=max_tokens,
            query=query,
            protect=patterns,
            min_tokens=min_tokens,
            on_error="raise" if on_error is options.OnError.RAISE else "passthrough",
        )
        with rich_progress(is_terminal() and not quiet) as progress:
            if form is options.Form.TEXT:
                result = zprompt.compress(documents, form="text", count=count, **chosen)
            elif count != "reader":
                raise OptionError("--count applies to --form text only; Z-spans are counted in Z-tokens. Leave it out.")
            else:
                loaded = options.open_codec(codec, backbone, device, quantization)
                result = loaded.compress(documents, progress=progress, **chosen, **options.given(batch_size=batch_size))
        if not quiet:
            show(figures(result.stats))
        return read_documents(result.documents).texts

    def rename(name: str) -> str:
        if form is options.Form.TEXT:
            return _without_suffix(name)
        return name if focus and name.endswith(SPANS_SUFFIX) else name + SPANS_SUFFIX

    def why_left_out(file: Path) -> str | None:
        if not file.name.endswith(SPANS_SUFFIX):
            return None
        if not focus:
            return "it is already compressed"
        return (
            "the file with its text is there as well" if file.with_name(_without_suffix(file.name)).is_file() else None
        )

    from zprompt.zspan import escape_literal  # imports numpy, which --help does not need

    sources = read_sources(files, output, why_left_out=why_left_out)
    _warn_of_spans(sources, focus)
    targets = plan_outputs(sources, output, rename, force=force)
    keep = str if form is options.Form.TEXT else escape_literal
    contents = partial(read_content, field=field, focus=focus)
    _convert_files(sources, targets, contents, on_error, _unfit_for_focus if focus else _unfit, compress, keep)


@app.command("decompress")
def _decompress(
    files: options.Inputs = None,
    output: options.Output = None,
    field: options.Field = None,
    quiet: options.Quiet = False,
    on_error: options.OnErrorOption = options.OnError.SKIP,
    force: options.Force = False,
    codec: options.CodecName = "default",
    backbone: options.BackboneName = None,
    device: options.DeviceName = options.Device.AUTO,
    quantization: options.QuantizationName = options.Quantization.AUTO,
    batch_size: options.BatchSize = None,
) -> None:
    """Restore the text of Z-spans, wherever they are; the text around them stays as it is.

    For JSON lines that were compressed with --field, pass the same --field again.
    """

    def decompress(documents: Sequence[Document]) -> Sequence[str | ZPromptError]:
        texts = read_documents(documents).texts
        loaded = options.open_codec(codec, backbone, device, quantization)
        with rich_progress(is_terminal() and not quiet) as progress:
            return loaded.restore_texts(texts, progress=progress, **options.given(batch_size=batch_size))

    sources = read_sources(files, output)
    targets = plan_outputs(sources, output, _without_suffix, force=force)
    contents = partial(read_content, field=field, restore=True)
    _convert_files(sources, targets, contents, on_error, _damaged, decompress, str)


def _warn_of_spans(sources: Sources, focus: bool) -> None:
    for path in (source.path for source in sources.members):
        if path and path.name.endswith(SPANS_SUFFIX) and not focus:
            warn(f"{path} is already compressed; its Z-spans are compressed again, as text. --query focuses them.")


def _without_suffix(name: str) -> str:
    return name.removesuffix(SPANS_SUFFIX) or name


def _unfit(text: str) -> ZPromptError | None:
    """Return why no codec can compress a text; None if one can."""
    from zprompt.zspan import require_no_surrogates

    try:
        require_no_surrogates(text)
    except ZPromptError as error:
        return error
    return None


def _unfit_for_focus(text: str) -> ZPromptError | None:
    """Return why no codec can focus a text, which may be a Z-span; None if one can."""
    from zprompt.zspan import is_span

    return _damaged(text) if is_span(text.strip()) else _unfit(text)


def _damaged(text: str) -> ZPromptError | None:
    """Return why no codec can restore a text, as far as its Z-spans' headers tell."""
    from zprompt.zspan import find_spans, read_header

    try:
        for match in find_spans(text):
            read_header(match.text)
    except ZPromptError as error:
        return error
    return None


@dataclass(slots=True)
class _File:
    """A file to convert."""

    target: Path | None
    content: Content
    results: list[str | ZPromptError | None]  # for each text; None: not converted yet

    @property
    def errors(self) -> list[ZPromptError]:
        """Return the errors of texts that cannot be converted, with their places."""
        pairs = zip(self.content.places, self.results, strict=True)
        return [located(result, place) for place, result in pairs if isinstance(result, ZPromptError)]


def _convert_files(
    sources: Sources,
    targets: Sequence[Path | None],
    read: Callable[[Source], Content],
    on_error: options.OnError,
    check: Callable[[str], ZPromptError | None],
    convert: Callable[[Sequence[Document]], Sequence[str | ZPromptError]],
    keep: Callable[[str], str],
) -> None:
    """Convert all texts in one call, then write the files.

    :param sources: The files.
    :param targets: The output of each; None: stdout.
    :param read: Finds the texts of each.
    :param on_error: What to do about texts that cannot be converted.
    :param check: Returns why a text cannot be converted, as far as can be told without a model.
    :param convert: Converts the other texts, or returns why not.
    :param keep: Renders a text that stays as it is.
    :raises Exit: If files were left out.
    """
    if on_error is options.OnError.SKIP and len(sources.members) == 1:
        on_error = options.OnError.RAISE  # nothing would be written
    files = []
    for source, target in zip(sources.members, targets, strict=True):
        try:
            content = read(source)
        except DocumentTypeError as error:
            if on_error is options.OnError.RAISE:
                raise
            complain(str(error))
            continue
        files.append(_File(target, content, [check(text) for text in content.texts]))
    _raise_first(files, on_error)
    new = [
        document
        for file in files
        for document, result in zip(file.content.documents, file.results, strict=True)
        if result is None
    ]
    converted = iter(convert(new) if new else [])
    for file in files:
        file.results = [next(converted) if result is None else result for result in file.results]
    _raise_first(files, on_error)
    written = sum(_write(file, on_error, keep) for file in files)
    if written < len(sources.members):
        complain(f"{len(sources.members) - written} of {len(sources.members)} files were not written.")
        raise typer.Exit(1)


def _raise_first(files: Sequence[_File], on_error: options.OnError) -> None:
    errors = [error for file in files for error in file.errors]
    if errors and on_error is options.OnError.RAISE:
        raise errors[0]


def _write(file: _File, on_error: options.OnError, keep: Callable[[str], str]) -> bool:
    """Write a file and report its errors; return False if it is skipped because of them."""
    skipped = bool(file.errors) and on_error is options.OnError.SKIP
    for error in file.errors:
        (complain if skipped else warn)(str(error))
    if not skipped:
        pairs = zip(file.content.texts, file.results, strict=True)
        write_text(
            file.target,
            file.content.render([result if isinstance(result, str) else keep(text) for text, result in pairs]),
        )
    return not skipped
