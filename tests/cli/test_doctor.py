"""The doctor: every check finds a fault, names it and prints the remedy."""

import hashlib
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement

from handviz.cli import doctor as doctor
from handviz.cli import doctor as doctor_command
from handviz.cli import probes
from handviz.cli.doctor import Finding
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.extras import install_line
from handviz.core.paths import CHECKSUM_FILE, LANDMARKER_FILE, MODELS, PROJECT_ROOT
from handviz.detection import detectors
from handviz.models import registry
from tests.errors import raises
from tests.tiny_network import write_network


def requirements(*lines: str) -> list[Requirement]:
    return [Requirement(line) for line in lines]


def test_a_missing_package_fails_and_another_version_is_a_warning(tmp_path: Path) -> None:
    pins = tmp_path / "requirements.txt"
    pins.write_text(
        "# a comment\n-r others.txt\nnumpy==0.0.1\nhandviz-of-tests-only==1.0\n"
        'packaging==0.0.1; sys_platform == "nowhere"\n'
    )
    declared = requirements("numpy>=2", "handviz-does-not-exist>=1")
    missing, untested = doctor.check_packages(declared, doctor.pinned_requirements(pins))
    assert (missing.state, untested.state) == ("FAIL", "warn")
    assert "handviz-does-not-exist" in missing.detail
    assert "bootstrap.py" in missing.remedy
    assert "numpy" in untested.detail
    assert "==0.0.1" in untested.detail


def test_an_installed_package_gets_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "IS_CLONE", False)
    (missing,) = doctor.check_packages(requirements("handviz-does-not-exist>=1,<2"), [])
    assert missing.remedy == 'type: pip install "handviz-does-not-exist<2,>=1"'


def test_what_a_package_needs_in_turn_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = {"numpy": ["handviz-does-not-exist", "handviz-neither; extra == 'all'", "numpy"]}
    monkeypatch.setattr(doctor, "requires", needs.get)
    assert [item.name for item in doctor.missing_requirements(requirements("numpy"))] == ["handviz-does-not-exist"]


def test_the_packages_of_this_environment_are_sound() -> None:
    assert [finding.detail for finding in doctor.check_packages() if finding.state == "FAIL"] == []


@pytest.mark.parametrize(
    ("installed", "states"),
    [
        ({"onnxruntime": "1", "onnxruntime-gpu": "1"}, ["FAIL"]),
        ({"opencv-python": "5.1", "opencv-contrib-python": "5.0"}, ["warn"]),
        ({"opencv-python": "5.0", "opencv-contrib-python": "5.0", "onnxruntime": "1"}, []),
    ],
)
def test_packages_that_write_the_same_files_are_said(
    monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], states: list[str]
) -> None:
    monkeypatch.setattr(doctor, "_installed", installed.get)
    findings = doctor.check_conflicts()
    assert [finding.state for finding in findings] == states
    assert all("pip uninstall" in finding.remedy for finding in findings)


def test_missing_extras_are_no_failure_and_their_checks_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "missing_modules", lambda extra: ["PyQt6"] if extra == "gui" else [])
    monkeypatch.setattr(doctor, "run_probe", lambda name: (True, "CPUExecutionProvider"))
    findings = {finding.title: finding for finding in doctor.examine()}
    assert findings["extra gui"].state == "off"
    assert findings["extra gui"].remedy == f"type: {install_line('gui')}"
    assert findings["extra train"].state == "ok"
    assert {"OpenGL", "ONNX Runtime"} < findings.keys()
    assert not {"display", "cameras", "xcb-cursor"} & findings.keys()


def test_the_folders_of_the_user_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "MANO_RIGHT.pkl").touch()
    monkeypatch.setattr(doctor, "MANO_FOLDER", tmp_path)
    monkeypatch.setenv("HANDVIZ_CONFIG_DIR", str(tmp_path / "mine"))
    _, files, folders = doctor.check_folders()
    assert f"MANO files in {tmp_path} (1 now)" in files.detail
    assert folders.detail.startswith(f"settings in {tmp_path / 'mine'}, results of inspected folders in")


def test_models_are_compared_with_their_checksums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "run_probe", lambda name: (True, name))
    for name in ("good.onnx", "changed.onnx"):
        (tmp_path / name).write_bytes(name.encode())
    good = hashlib.sha256(b"good.onnx").hexdigest()
    checksums = tmp_path / "SHA256SUMS"
    checksums.write_text(f"{good}  good.onnx\n{good}  changed.onnx\n{good} *missing.onnx\n")
    changed, missing = doctor.check_models(checksums)
    assert (changed.state, missing.state) == ("warn", "FAIL")
    assert "changed.onnx is changed: its sha256 is" in changed.detail
    assert good[:12] in changed.detail
    assert missing.detail == "missing.onnx is missing"
    assert "git checkout -- models/missing.onnx" in missing.remedy

    checksums.write_text(f"{good}  good.onnx\n")
    assert [finding.state for finding in doctor.check_models(checksums)] == ["ok"]


def test_a_changed_model_that_cannot_be_loaded_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "SHA256SUMS").write_text("ab  handviz_final.onnx\n")
    (tmp_path / "handviz_final.onnx").touch()
    monkeypatch.setattr(doctor, "run_probe", lambda name: (False, f"{name} says it is damaged"))
    states = [(finding.state, finding.detail) for finding in doctor.check_models(tmp_path / "SHA256SUMS")]
    assert [state for state, _ in states] == ["warn", "FAIL"]
    assert states[1][1] == "changed_networks says it is damaged"


@pytest.mark.slow
def test_changed_models_are_loaded_by_the_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = write_network(tmp_path / "handviz_final.onnx")
    for name in ("MODELS", "LANDMARKER_FILE"):
        monkeypatch.setattr(probes, name, tmp_path)
    monkeypatch.setattr(registry, "shipped_models", lambda: (SimpleNamespace(file=network),))
    assert probes.changed_networks() == "the changed files can be loaded"
    network.write_bytes(network.read_bytes()[:500])
    with raises(ErrorCode.MODEL_DAMAGED):
        probes.changed_networks()


def test_shipped_models_match_their_checksums_and_all_are_listed() -> None:
    assert [finding.detail for finding in doctor.check_models() if finding.state != "ok"] == []
    listed = {line.split()[1] for line in CHECKSUM_FILE.read_text().splitlines()}
    shipped = {path.name for kind in ("onnx", "safetensors", "task") for path in MODELS.glob(f"*.{kind}")}
    assert shipped <= listed


def test_the_detector_s_files_are_checked_and_mediapipe_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = doctor.check_detector()
    assert good.state == "ok"
    assert f"--detector mediapipe MediaPipe's library {version('mediapipe')}" in good.detail
    task_file = tmp_path / LANDMARKER_FILE.name
    monkeypatch.setattr(detectors, "LANDMARKER_FILE", task_file)
    for content, words in ((None, "is missing"), (b"PK", "is truncated")):
        if content:
            task_file.write_bytes(content)
        finding = doctor.check_detector()
        assert finding.state == "FAIL"
        assert f"{task_file} {words}" in finding.detail
        assert "tools.build landmarker" in finding.remedy


def test_a_missing_checksum_file_is_said(tmp_path: Path) -> None:
    (finding,) = doctor.check_models(tmp_path / "SHA256SUMS")
    assert finding.state == "FAIL"
    assert finding.remedy


def test_a_missing_library_names_its_package() -> None:
    finding = doctor.check_library("EGL", "libhandviz-does-not-exist.so.1", "libegl1")
    assert finding.state == "FAIL"
    assert "apt-get install -y libegl1" in finding.remedy


def test_a_probe_runs_in_its_own_process() -> None:
    works, text = doctor.run_probe("opengl")
    assert works, text
    assert "OpenGL" in text


def test_a_probe_that_hangs_is_given_up() -> None:
    works, text = doctor.run_probe("opengl", timeout_s=0.01)
    assert not works
    assert text.startswith("no answer within")


def test_a_probe_says_in_one_line_what_failed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def broken() -> str:
        raise HandvizError("the driver is missing", ErrorCode.OPTION_CONFLICT)

    monkeypatch.setitem(probes.PROBES, "opengl", broken)
    assert probes.main("opengl") == 1
    assert capsys.readouterr().err == "the driver is missing\n"


def test_without_a_display_images_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    finding = doctor.check_display()
    assert finding.state == "warn"
    assert "handviz reconstruct" in finding.remedy


@pytest.mark.parametrize(
    ("works", "text", "has_card", "state"),
    [
        (True, "CPUExecutionProvider runs a.onnx", False, "ok"),
        (True, "CPUExecutionProvider runs a.onnx", True, "warn"),
        (True, "CUDAExecutionProvider runs a.onnx", True, "ok"),
        (False, "no ONNX file", False, "FAIL"),
    ],
)
def test_an_nvidia_card_left_unused_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, works: bool, text: str, has_card: bool, state: str
) -> None:
    monkeypatch.setattr(doctor, "run_probe", lambda name: (works, text))
    monkeypatch.setattr("shutil.which", lambda tool: "/usr/bin/nvidia-smi" if has_card else None)
    finding = doctor.check_provider()
    assert finding.state == state
    assert bool(finding.remedy) == (state != "ok")


@pytest.mark.parametrize(("state", "status"), [("ok", 0), ("warn", 0), ("FAIL", 1)])
def test_only_failures_of_needed_things_set_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, state: doctor.State, status: int
) -> None:
    monkeypatch.setattr(doctor_command, "examine", lambda: [Finding("thing", state, "as it is", "do this")])
    assert doctor_command.run(doctor_command.Arguments()) == status
    assert capsys.readouterr().out == f"{state:5}thing         as it is  ->  do this\n"


def test_no_binary_file_is_taken_for_text() -> None:
    attributes = (PROJECT_ROOT / ".gitattributes").read_text(encoding="utf-8").splitlines()
    committed = [
        path for folder in ("assets", "models", "docs") for path in (PROJECT_ROOT / folder).iterdir() if path.is_file()
    ]
    text = {".md", ".json", ".css", ""}
    kinds = {path.suffix for path in committed} - text
    assert ".onnx" in kinds
    assert not kinds - {line.removeprefix("*").split()[0] for line in attributes if line.endswith(" binary")}
