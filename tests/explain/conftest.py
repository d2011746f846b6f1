"""A page to open in a browser."""

import pytest

from tests.explain.network import written


@pytest.fixture(scope="session")
def shown(tmp_path_factory):
    """(the record, the file) of a page with all stages; its names are hostile."""
    return written(tmp_path_factory.mktemp("explain"))
