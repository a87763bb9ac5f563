"""The program starts fast, and fails with a message."""

import subprocess
import sys

import pytest

from tests.cli.byte_codec import ByteCodec, write_span
from tests.cli.conftest import Run

RUN_QUIETLY = "import sys; from zprompt.cli.main import app; app(sys.argv[1:])"


def test_help_lists_the_commands(run: Run) -> None:
    result = run("--help")

    assert result.exit_code == 0
    assert all(name in result.stdout for name in ("compress", "decompress", "inspect", "stats", "pull"))


def test_help_does_not_load_torch() -> None:
    code = "import sys; import zprompt.cli.main; print({'torch', 'transformers', 'numpy'} & set(sys.modules))"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"set()\n"


def test_the_version_is_shown(run: Run) -> None:
    zprompt = pytest.importorskip("zprompt")

    assert run("--version").stdout == f"zprompt {zprompt.__version__}\n"


def test_an_error_of_zprompt_is_a_message_without_a_traceback(run: Run) -> None:
    result = run("decompress", stdin=write_span("text")[:-3].encode())

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: stdin: A Z-span is cut off")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("switch", ["option", "variable"])
def test_a_traceback_is_shown_on_request(run: Run, monkeypatch: pytest.MonkeyPatch, switch: str) -> None:
    if switch == "variable":
        monkeypatch.setenv("ZPROMPT_DEBUG", "1")

    result = run(*["--debug"] * (switch == "option"), "decompress", stdin=write_span("text")[:-3].encode())

    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_a_refusal_of_the_operating_system_is_a_message(run: Run) -> None:
    result = run("compress", "-o", "/dev/null/out", stdin=b"text")

    assert result.exit_code == 1
    assert "/dev/null" in result.stderr


def test_a_missing_file_is_named(run: Run) -> None:
    result = run("compress", "missing.txt")

    assert result.exit_code == 1
    assert "missing.txt: No such file or directory." in result.stderr


def test_an_unknown_option_is_a_usage_error(run: Run) -> None:
    assert run("compress", "--nonsense").exit_code == 2


def test_ctrl_c_ends_the_program_without_a_message(run: Run, codec: ByteCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(codec, "compress", interrupt)

    result = run("compress", stdin=b"text")

    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "")


def test_a_closed_pipe_is_no_error() -> None:
    spans = (write_span("text") * 100).encode()
    with subprocess.Popen(
        [sys.executable, "-c", RUN_QUIETLY, "stats", "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as program:
        assert program.stdin and program.stdout and program.stderr
        program.stdout.close()
        program.stdin.write(spans)
        program.stdin.close()
        assert program.stderr.read() == b""


def test_escape_sequences_in_messages_are_not_passed_to_the_terminal(run: Run) -> None:
    result = run("compress", "\x1b[2Jmissing.txt")

    assert result.exit_code == 1
    assert "\x1b[2J" not in result.stderr


def test_the_program_runs_as_a_module() -> None:
    result = subprocess.run([sys.executable, "-m", "zprompt", "--version"], capture_output=True, check=True, text=True)

    assert result.stdout.startswith("zprompt ")
