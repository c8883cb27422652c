"""The command, called as the shell would call it."""

import contextlib
import io

import pytest

from intarsia.cli import main as command


@pytest.fixture(scope="session")
def call():
    """Run the command where we stand: exit code, standard output, standard error."""

    def run(*words):
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as stop,
        ):
            patch.setenv("COLUMNS", "200")
            patch.setattr("sys.argv", ["intarsia", *map(str, words)])
            command.main()
            raise SystemExit(0)
        return stop.value.code or 0, out.getvalue(), err.getvalue()

    return run


@pytest.fixture
def intarsia(call, monkeypatch, tmp_path):
    """Run the command in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    return call
