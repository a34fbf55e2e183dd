"""weights.lock, as people may have left it."""

import pytest

from engine.weights import manifest
from errors import UserError


@pytest.mark.parametrize("content", ["", "[]", "{", '"x"', '{"a": 1}', '{"a": {}}', '{"a": {"sha256": 3}}', "\x00"])
def test_a_broken_lock_is_one_sentence(tmp_path, content):
    assert manifest.read_lock(tmp_path) == {}
    (tmp_path / manifest.LOCK).write_text(content)
    with pytest.raises(UserError, match=r"weights\.lock .*: delete it to pin the files beside it anew\."):
        manifest.read_lock(tmp_path)
