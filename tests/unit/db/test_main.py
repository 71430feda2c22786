"""`python -m db` says which database it means."""

import pytest

from db.__main__ import main


def test_help_names_the_database_without_its_password(monkeypatch, capsys):
    """It connects to none, and goes to stdout; a command that does not exist gives the usage on stderr, and code 2."""
    monkeypatch.setenv("CXR_DATABASE_URL", "postgresql://me:secret@nowhere/ledger?password=secret")
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: python -m db upgrade | grant-read ROLE")
    assert "me:***@nowhere/ledger" in shown
    assert "secret" not in shown
    assert main(["upgrad"]) == 2
    assert capsys.readouterr().err.startswith("usage: ")


@pytest.mark.parametrize("folder", ["home", "my home"])
def test_upgrade_names_the_database_whose_tables_it_changed(tmp_path, monkeypatch, capsys, folder):
    """It may have made one in a home that the person did not think of."""
    monkeypatch.delenv("CXR_DATABASE_URL", raising=False)
    monkeypatch.setenv("CXR_HOME", str(tmp_path / folder))
    assert main(["upgrade"]) == 0
    assert f"{tmp_path}/{folder}/nightread.sqlite: the tables are at revision " in capsys.readouterr().out
