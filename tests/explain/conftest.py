"""The browser of the atlas's tests, and a page to open in it."""

import pytest

from tests.atlas.conftest import chromium, windows  # noqa: F401 - fixtures
from tests.explain.network import written


@pytest.fixture(scope="session")
def shown(tmp_path_factory):
    """(the record, the file) of a page with all stages; its names are hostile."""
    return written(tmp_path_factory.mktemp("explain"))
