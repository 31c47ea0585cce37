"""Optional libraries: present, absent, broken."""

import sys
import tomllib

import pytest

from conftest import REPOSITORY
from holdfast._optional import EXTRA_OF, require
from holdfast.exceptions import HoldfastError, MissingDependencyError


def test_a_present_library_is_imported(monkeypatch):
    monkeypatch.setitem(EXTRA_OF, "json", "standard")
    assert require("json").loads("[1]") == [1]
    assert require("json.decoder").__name__ == "json.decoder"


def test_an_absent_library_names_its_extra(monkeypatch):
    monkeypatch.setitem(EXTRA_OF, "holdfast_no_such_library", "embed")
    with pytest.raises(MissingDependencyError) as caught:
        require("holdfast_no_such_library")
    assert str(caught.value) == (
        "This part of holdfast needs holdfast_no_such_library; install it with: pip install 'holdfast[embed]'"
    )
    assert isinstance(caught.value, HoldfastError)
    assert isinstance(caught.value, ImportError)


def test_a_blocked_library_is_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'holdfast\[faiss\]'"):
        require("faiss")


def test_a_library_that_lacks_its_own_dependency_says_so(monkeypatch, tmp_path):
    (tmp_path / "halfway.py").write_text("import holdfast_no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(EXTRA_OF, "halfway", "embed")
    with pytest.raises(MissingDependencyError) as caught:
        require("halfway")
    assert str(caught.value) == (
        "halfway is installed but cannot be imported (No module named 'holdfast_no_such_library'); "
        "install it with: pip install 'holdfast[embed]'"
    )


def test_every_extra_exists():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert set(EXTRA_OF.values()) <= set(project["optional-dependencies"])
