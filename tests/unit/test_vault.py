"""The vault: encrypted, renewable, and robust against one damaged file."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from configs.errors import FacingsError
from configs.home import Home
from identity import vault as vault_module
from identity.vault import Enrolled, Vault

GOLDEN = [-0.119087363665, 0.143940107093, -0.014150201768, -0.029236125031]
MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _templates(count: int, seed: int = 0) -> npt.NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(count, 128))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


@pytest.fixture
def place(tmp_path: Path) -> Home:
    return Home(tmp_path)


def _put(place: Home, *names: str) -> Vault:
    vault = Vault(place)
    for number, name in enumerate(names):
        vault.put(Enrolled(name, _templates(3, number), MOMENT, ("s1",), "Ada"))
    return vault


def test_what_is_put_is_got_by_another_process(place: Home) -> None:
    _put(place, "zebra-4711")
    found = Vault(place).get("zebra-4711")
    assert found is not None
    assert (found.shopper_id, found.created, found.stores, found.greeting) == ("zebra-4711", MOMENT, ("s1",), "Ada")
    np.testing.assert_allclose(found.templates, _templates(3), atol=1e-6)
    assert Vault(place).get("nobody") is None


def test_nothing_at_rest_tells_who_or_what(place: Home) -> None:
    _put(place, "zebra-4711")
    plain = _templates(3)
    for file in place.root.rglob("*"):
        assert "zebra" not in file.name
        if file.is_file():
            content = file.read_bytes()
            for secret in (b"zebra-4711", b"Ada", plain.tobytes()[:64], base64.b64encode(plain[0].tobytes())[:40]):
                assert secret not in content
            assert file.stat().st_mode & 0o077 == 0 or file.name == ".lock"


def test_the_stored_templates_are_rotated_and_their_angles_kept(place: Home) -> None:
    vault = _put(place, "a", "b")
    content = vault.read()
    np.testing.assert_allclose(content.rotation @ content.rotation.T, np.eye(128), atol=1e-5)
    stored = {one.shopper_id: one.templates for one in content.enrolled}
    assert abs(float((stored["a"][0] * _templates(3)[0]).sum())) < 0.5
    np.testing.assert_allclose(stored["a"] @ stored["b"].T, _templates(3) @ _templates(3, 1).T, atol=1e-5)
    np.testing.assert_allclose(stored["a"][1], content.rotation @ _templates(3)[1], atol=1e-5)


def test_a_renewed_vault_holds_other_templates_of_the_same_faces(place: Home) -> None:
    vault = _put(place, "a", "b")
    before = vault.read()
    assert vault.renew() == 2
    after = vault.read()
    assert np.abs(before.enrolled[0].templates - after.enrolled[0].templates).max() > 0.05
    assert not np.allclose(before.rotation, after.rotation)
    found = vault.get("a")
    assert found is not None
    np.testing.assert_allclose(found.templates, _templates(3), atol=1e-5)


def test_a_renewal_that_was_cut_off_leaves_every_template_usable(place: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = _put(place, "a", "b", "c")
    write, calls = vault._write, []

    def cut_off(*arguments: object) -> None:
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(1)
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(vault, "_write", cut_off)
    with pytest.raises(KeyboardInterrupt):
        vault.renew()
    content = Vault(place).read()
    assert len(content.enrolled) == 3
    for one in content.enrolled:
        expected = _templates(3, "abc".index(one.shopper_id)) @ content.rotation.T
        np.testing.assert_allclose(one.templates, expected, atol=1e-5)


def test_a_damaged_file_is_named_and_the_others_go_on(place: Home) -> None:
    vault = _put(place, "a", "b", "c")
    path = vault._path("b")
    path.write_bytes(path.read_bytes()[:-7])
    content = vault.read()
    assert {one.shopper_id for one in content.enrolled} == {"a", "c"}
    assert len(content.damaged) == 1
    assert str(path) in content.damaged[0]
    with pytest.raises(FacingsError, match="damaged"):
        vault.get("b")
    assert vault.remove("b") == 1
    assert vault.read().damaged == []


def test_a_file_given_another_shoppers_name_does_not_open(place: Home) -> None:
    vault = _put(place, "a", "b")
    vault._path("a").replace(vault._path("b"))
    assert len(vault.read().damaged) == 1


def test_another_key_opens_nothing(place: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    _put(place, "a")
    monkeypatch.setenv("FACINGS_SECRET_VAULT", base64.b64encode(bytes(range(32))).decode())
    other = Vault(place)
    assert other.get("a") is None
    assert len(other.read().damaged) == 1


def test_every_change_shows_in_the_generation(place: Home) -> None:
    vault = Vault(place)
    seen = [vault.generation()]
    vault.put(Enrolled("a", _templates(1), MOMENT))
    seen.append(vault.generation())
    vault.put(Enrolled("a", _templates(2), MOMENT))
    seen.append(vault.generation())
    vault.renew()
    seen.append(vault.generation())
    vault.remove("a")
    seen.append(vault.generation())
    assert len(set(seen)) == len(seen)
    assert vault.generation() == seen[-1]


def test_removing_from_a_vault_that_never_was_makes_none(place: Home) -> None:
    assert Vault(place).remove("a") == 0
    assert not place.vault.exists()


def test_the_rotation_of_a_key_never_changes() -> None:
    """Golden: templates written by one release are read by the next, whatever numpy is installed."""
    matrix = vault_module._orthogonal(b"a key")
    np.testing.assert_allclose(matrix[0, :4], GOLDEN, atol=1e-9)
