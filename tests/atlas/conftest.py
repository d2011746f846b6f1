"""Atlases to open in a browser."""

from functools import cache

import pytest

from tests.atlas.fake import Fake


@pytest.fixture(scope="session")
def fake(tmp_path_factory):
    """fake(**options) -> an atlas and the path of its index.html; one for all tests with the same options."""

    @cache
    def made(**options):
        atlas = Fake(**options)
        return atlas, atlas.write(tmp_path_factory.mktemp("atlas"))

    return made
