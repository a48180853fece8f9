"""`facings enrol` and `facings identify`, as a person at a shop uses them, on real photographs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from cli.main import main
from pipelines.demo_photograph import enrol_picture, portrait, probe_picture


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Result]


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process; the home is fresh."""

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["facings", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Result(int(ended.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files by what they show."""
    folder = tmp_path_factory.mktemp("pictures")
    face = enrol_picture()
    two = Image.new("RGB", (600, 300))
    two.paste(face, (0, 0))
    two.paste(face.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (300, 0))
    head = portrait().crop((170, 50, 280, 190))
    content = {
        "enrol": face,
        "probe": probe_picture(),
        "light": ImageEnhance.Brightness(face).enhance(1.3),
        "two": two,
        "none": portrait().crop((0, 260, 250, 510)),
        "noise": Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)),
        "blur": face.filter(ImageFilter.GaussianBlur(6)),
        "grey": face.convert("L"),
        "alpha": face.convert("RGBA"),
        "large": portrait().resize((3000, 3000)),
        "tight": head,
        "tiny": face.resize((20, 20)),
    }
    paths = {}
    for name, image in content.items():
        paths[name] = folder / f"{name}.png"
        image.save(paths[name])
    paths["text"] = folder / "text.jpg"
    paths["text"].write_text("I am not a photograph.")
    return paths


def _is_one_sentence(text: str) -> bool:
    return text.startswith("facings: ") and text.count("\n") == 1 and "Traceback" not in text


def test_who_is_enrolled_is_recognised_on_another_picture(run: Run, pictures: dict[str, Path]) -> None:
    done = run("enrol", "4711", pictures["enrol"], pictures["light"], "--consent", "--name", "Ada", "--json")
    assert done.code == 0
    assert done.json == {
        "shopper_id": "4711", "photographs": 2, "templates": 2, "stores": [], "greeting": "Ada", "consent": "1",
    }  # fmt: skip
    for name in ("probe", "grey", "alpha", "large", "tight"):
        found = run("identify", pictures[name], "--json")
        assert (found.code, found.json["status"], found.json["shopper_id"]) == (0, "known", "4711"), name
        assert 0.45 <= found.json["score"] <= 1.0
        assert found.json["margin"] > 0.05


def test_every_answer_has_its_status_and_exit_code_0(run: Run, pictures: dict[str, Path]) -> None:
    for name, status in [
        ("probe", "unknown"), ("two", "several_faces"), ("none", "no_face"), ("noise", "no_face"),
        ("blur", "low_quality"),
    ]:  # fmt: skip
        found = run("identify", pictures[name], "--json")
        assert (found.code, found.json["status"], found.json["shopper_id"]) == (0, status, None), name


def test_without_consent_nothing_is_done(run: Run, pictures: dict[str, Path], home: Path) -> None:
    done = run("enrol", "4711", pictures["enrol"])
    assert done.code == 2
    assert _is_one_sentence(done.err)
    assert "--consent" in done.err
    assert not home.exists()


@pytest.mark.parametrize("bad", ["two", "none", "noise", "blur", "text", "tiny", "missing"])
def test_one_unusable_photograph_enrols_nothing_and_is_named(run: Run, pictures: dict[str, Path], bad: str) -> None:
    path = pictures.get(bad, Path("missing.jpg"))
    done = run("enrol", "4711", pictures["enrol"], path, "--consent")
    assert done.code == 1
    assert _is_one_sentence(done.err)
    assert path.name in done.err
    assert run("identify", pictures["probe"], "--json").json["status"] == "unknown"


def test_what_is_no_image_cannot_be_identified(run: Run, pictures: dict[str, Path]) -> None:
    for path in (pictures["text"], pictures["tiny"], Path("missing.jpg")):
        done = run("identify", path, "--json")
        assert (done.code, done.out) == (1, "")
        assert _is_one_sentence(done.err)


def test_a_shopper_of_one_store_is_unknown_in_another(run: Run, pictures: dict[str, Path]) -> None:
    run("enrol", "4711", pictures["enrol"], "--consent", "--store", "s1")
    statuses = {
        store: run("identify", pictures["probe"], "--json", *store).json["status"]
        for store in [(), ("--store", "s1"), ("--store", "s2")]
    }
    assert list(statuses.values()) == ["known", "known", "unknown"]
    again = run("enrol", "4711", pictures["light"], "--consent", "--store", "s2", "--json").json
    assert (again["stores"], again["templates"]) == (["s1", "s2"], 2)
    assert run("identify", pictures["probe"], "--store", "s2", "--json").json["status"] == "known"


def test_the_same_face_under_two_names_is_ambiguous(run: Run, pictures: dict[str, Path]) -> None:
    run("enrol", "4711", pictures["enrol"], "--consent")
    run("enrol", "4712", pictures["light"], "--consent")
    found = run("identify", pictures["probe"], "--json").json
    assert (found["status"], found["shopper_id"]) == ("ambiguous", None)


def test_one_damaged_template_is_told_and_the_others_are_found(run: Run, pictures: dict[str, Path], home: Path) -> None:
    run("enrol", "other", pictures["enrol"], "--consent")
    (file,) = (home / "vault").glob("*.face")
    file.write_bytes(b"rubbish")
    run("enrol", "4711", pictures["light"], "--consent")
    found = run("identify", pictures["probe"], "--json")
    assert found.json["shopper_id"] == "4711"
    assert _is_one_sentence(found.err)
    assert file.name in found.err


@pytest.mark.parametrize(
    "options",
    [["", "--consent"], ["a\nb", "--consent"], ["x" * 201, "--consent"], ["a", "--consent", "--name", "x" * 41]],
)
def test_an_id_or_a_greeting_that_cannot_be_is_wrong_usage(
    run: Run, pictures: dict[str, Path], options: list[str]
) -> None:
    done = run("enrol", options[0], pictures["enrol"], *options[1:])
    assert done.code == 2
    assert _is_one_sentence(done.err)


def test_no_picture_and_no_name_is_kept(run: Run, pictures: dict[str, Path], home: Path) -> None:
    run("enrol", "shopper-zebra-4711", pictures["enrol"], "--consent", "--name", "Zebrina")
    run("identify", pictures["probe"])
    pixels = [np.asarray(Image.open(pictures[name])) for name in ("enrol", "probe")]
    rows = [row.tobytes() for picture in pixels for colours in (picture, picture[..., ::-1]) for row in colours[::25]]
    for file in home.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert b"zebra" not in content
            assert b"Zebrina" not in content
            assert not content.startswith((b"\x89PNG", b"\xff\xd8"))
            assert not any(row in content for row in rows)


def test_a_crash_between_consent_and_template_leaves_no_template(
    run: Run, pictures: dict[str, Path], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("identity.vault.Vault.put", crash)
        assert run("enrol", "4711", pictures["enrol"], "--consent").code == 130
    assert list((home / "vault").glob("*.face")) == []
    assert run("identify", pictures["probe"], "--json").json["status"] == "unknown"
    assert run("enrol", "4711", pictures["enrol"], "--consent").code == 0
