"""Fixtures of all tests: a GL context with leak checks, a settings folder of its own, checks for leftovers."""

import gc
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import pytest
from pytestqt.qtbot import QtBot

from handviz.core.onnx_runtime import limit_threads
from handviz.core.paths import PROJECT_ROOT
from tests.made_once import made_once, remember_exports, run_folder
from tests.waiting import LIMIT_MS, LIMIT_S

if TYPE_CHECKING:
    import moderngl

    from handviz.core.records import FloatArray
    from handviz.hand_models.anatomy import JointAxes
    from handviz.hand_models.template import HandTemplate
    from handviz.models.amvur.training_config import TrainConfig

pytest_plugins = ["pytester"]
MESSAGE_BOX_DOORS = ("about", "critical", "exec", "information", "open", "question", "warning")
SLOW_FIXTURES = frozenset({"cached_hands", "small_model", "small_texture", "texture_hands"})
# Their timeout is 5 s unless a caller says another.
QTBOT_WAITS = ("waitActive", "waitCallback", "waitExposed", "waitSignal", "waitSignals", "waitUntil")


def pytest_configure(config: pytest.Config) -> None:
    """Let Qt draw offscreen, except in ``pytest -m display``, which uses the present screen."""
    if config.getoption("markexpr") != "display":
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
        if sys.platform == "win32":
            # Offscreen, Qt looks for fonts in its own folder there, which has none.
            os.environ.setdefault("QT_QPA_FONTDIR", str(Path(os.environ["WINDIR"]) / "Fonts"))
    if "PYTEST_XDIST_WORKER" in os.environ:
        # There are as many processes as cores: threads of each would only wait for one another.
        os.environ["OMP_NUM_THREADS"] = "1"
        limit_threads(1)


@pytest.hookimpl(tryfirst=True)  # Before "-m" chooses.
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests of trained or exported networks as slow, begin with them, and skip those of another run.

    Two processes share the list by halves: what the slow half makes first is there when the other process helps it, and
    the last tests are short. A file stays together.
    """
    for item in items:
        if SLOW_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    slow_files = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow_files)
    _skip_what_wants_a_display(config, items)


def _skip_what_wants_a_display(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip display tests in other runs with a reason; a display run without a screen is an error."""
    wanting_a_display = [item for item in items if item.get_closest_marker("display")]
    reason = ""
    if config.getoption("markexpr") != "display":
        reason = "needs a display: run 'pytest -m display' (bootstrap.py test does)"
    elif sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        if wanting_a_display and not os.environ.get("WAYLAND_DISPLAY"):
            raise pytest.UsageError("no display here: run under xvfb-run")
        reason = "the only display here is Wayland's, and the tests want X11: run under xvfb-run"
    for item in wanting_a_display if reason else []:
        item.add_marker(pytest.mark.skip(reason=reason))


class PatientQtBot(QtBot):
    """pytest-qt's bot with the waits of ``tests.waiting``."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        super().__init__(request)
        for name in QTBOT_WAITS:
            setattr(self, name, partial(getattr(self, name), timeout=LIMIT_MS))


@pytest.fixture
def qtbot(qapp: object, request: pytest.FixtureRequest) -> PatientQtBot:
    """Replace pytest-qt's own bot, which waits for 5 s."""
    return PatientQtBot(request)


@pytest.fixture(scope="session", autouse=True)
def dataset_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Put the caches of dataset readers into a folder of this run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HANDVIZ_DATASET_CACHE", str(tmp_path_factory.mktemp("datasets")))
        yield


@pytest.fixture(scope="session", autouse=True)
def remembered_exports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Export the same network once a run."""
    with pytest.MonkeyPatch.context() as patch:
        remember_exports(run_folder(tmp_path_factory) / "exports", patch)
        yield


@pytest.fixture(scope="session")
def standalone_context() -> Iterator["moderngl.Context"]:
    """Yield one OpenGL context for the whole run; tests use ``ctx`` instead."""
    from handviz.rendering.offscreen import create_standalone_context

    context = create_standalone_context()
    context.gc_mode = "context_gc"
    yield context
    context.release()


@pytest.fixture
def ctx(standalone_context: "moderngl.Context") -> Iterator["moderngl.Context"]:
    """Yield an OpenGL context without a window; an OpenGL error or an unreleased object fails the test."""
    _release_dropped(standalone_context)
    # Objects from before the test are not its leaks, and scanning them takes a second once torch is loaded.
    gc.freeze()
    with standalone_context:
        assert standalone_context.error == "GL_NO_ERROR"
        yield standalone_context
        gc.collect()
        gc.unfreeze()
        leaked = _release_dropped(standalone_context)
        assert standalone_context.error == "GL_NO_ERROR"
        assert not leaked, f"OpenGL objects that nobody released: {leaked}"


def _release_dropped(context: "moderngl.Context") -> list[str]:
    """Free what was dropped without ``release()``; returns the kinds."""
    import moderngl

    dropped = [part for part in context.objects if not isinstance(part, moderngl.InvalidObject)]
    context.objects.clear()
    for part in dropped:
        part.release()
    return [type(part).__name__ for part in dropped]


@pytest.fixture(autouse=True)
def settings_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put settings into a temporary folder."""
    folder = tmp_path / "settings"
    monkeypatch.setenv("HANDVIZ_CONFIG_DIR", str(folder))
    return folder


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that leaves a thread, an active timer or a window, or that opens a message box."""
    threads_before = set(threading.enumerate())
    find_qt_leftovers = _watch_qt(monkeypatch) if "PyQt6.QtWidgets" in sys.modules else list
    yield
    leftovers = find_qt_leftovers()
    for thread in set(threading.enumerate()) - threads_before:
        if not thread.daemon:
            thread.join(LIMIT_S)
            leftovers += [f"thread {thread.name}"] if thread.is_alive() else []
    assert not leftovers, f"{request.node.name} left behind: {', '.join(leftovers)}"


def _watch_qt(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Record what is started from here on; returns a function that names what still runs."""
    from PyQt6.QtCore import QThread, QTimer
    from PyQt6.QtWidgets import QApplication, QMessageBox

    def forbid(*_: object, **__: object) -> NoReturn:
        pytest.fail("a message box was opened")

    for door in MESSAGE_BOX_DOORS:
        monkeypatch.setattr(QMessageBox, door, forbid)
    timers = _note_starts(monkeypatch, QTimer)
    threads = _note_starts(monkeypatch, QThread)
    windows_before = QApplication.topLevelWidgets()

    def named() -> list[str]:
        _delete_what_was_closed()
        windows = [window for window in QApplication.topLevelWidgets() if window not in windows_before]
        return [
            *(f"running {type(thread).__name__}" for thread in threads if _holds(thread.isRunning)),
            *(f"active {type(timer).__name__}" for timer in timers if _holds(timer.isActive)),
            *(f"window {type(window).__name__}" for window in windows),
        ]

    def find() -> list[str]:
        # Collecting takes a third of a second once torch is loaded: only where something seems to be left.
        if not named():
            return []
        gc.collect()
        return named()

    return find


def _note_starts(monkeypatch: pytest.MonkeyPatch, kind: type[Any]) -> list[Any]:
    """Return the list of every QThread or QTimer that is started from here on."""
    started: list[Any] = []
    start = kind.start

    def noted_start(self: Any, *arguments: Any) -> None:
        started.append(self)
        start(self, *arguments)

    monkeypatch.setattr(kind, "start", noted_start)
    return started


def _delete_what_was_closed() -> None:
    """Run pending ``deleteLater`` calls, because a test has no event loop."""
    from PyQt6.QtCore import QCoreApplication, QEvent

    if QCoreApplication.instance() is not None:
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)


def _holds(question: Callable[[], bool]) -> bool:
    """Return a Qt object's answer; False if Qt has deleted it."""
    try:
        return question()
    except RuntimeError:
        return False


@pytest.fixture
def shared_images() -> Path:
    """Return the folder of real photographs beside the checkout, which are not in the repository."""
    folder = PROJECT_ROOT.parent / "shared" / "real_images"
    if not folder.is_dir():
        pytest.skip("the photographs of ../shared/real_images are in no repository; the clip stands in for them")
    return folder


@pytest.fixture(scope="session")
def template() -> "HandTemplate":
    """Return the open hand; its arrays are read-only."""
    from handviz.hand_models.open_hand import load_open_hand

    return load_open_hand()


@pytest.fixture(scope="session")
def rest_joints(template: "HandTemplate") -> "FloatArray":
    """Return the open hand's joints (16, 3) at rest in metres."""
    return template.joint_regressor @ template.vertices_m


@pytest.fixture(scope="session")
def axes(template: "HandTemplate", rest_joints: "FloatArray") -> "JointAxes":
    """Return the open hand's joint axes."""
    from handviz.hand_models.anatomy import joint_axes
    from tests.hands import TIPS

    return joint_axes(rest_joints, (template.keypoint_regressor @ template.vertices_m)[TIPS])


@pytest.fixture
def seeded_torch() -> None:
    """Seed torch, whatever ran before the test."""
    import torch

    torch.manual_seed(0)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the generator put four hands into a shard."""
    from handviz.data.synthetic import generator

    monkeypatch.setattr(generator, "SHARD_SIZE", 4)


@pytest.fixture(scope="session")
def rendered_hands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Render 32 hands, seed 7, in two shards; a test that changes files copies the folder."""
    from handviz.data.synthetic import generator

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(generator, "SHARD_SIZE", 16)
            assert sum(generator.render(generator.Plan(folder / "hands", 7, 32), workers=1)) == 32

    made = made_once(run_folder(tmp_path_factory) / "made_once" / "rendered", make)
    # A copy, as caches are written beside the images.
    return Path(shutil.copytree(made / "hands", tmp_path_factory.mktemp("rendered") / "hands"))


@pytest.fixture(scope="session")
def rendered_moments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Render six moments of four views, in two shards; nobody changes the folder."""
    from tests.rendered_moments import render_some

    made = made_once(
        run_folder(tmp_path_factory) / "made_once" / "moments", lambda folder: render_some(folder / "hands")
    )
    # A copy, as caches are written beside the images.
    return Path(shutil.copytree(made / "hands", tmp_path_factory.mktemp("moments") / "hands"))


@pytest.fixture
def copied_moments(tmp_path: Path, rendered_moments: Path) -> Path:
    """Copy ``rendered_moments`` for a test that damages them."""
    return Path(shutil.copytree(rendered_moments, tmp_path / "moments"))


@pytest.fixture(scope="session")
def cached_hands(rendered_hands: Path) -> Path:
    """Return ``rendered_hands`` with the backbone's maps and the landmarks beside the images."""
    from handviz.data.synthetic.dataset import shard_numbers
    from handviz.models.amvur.features import LandmarkHead
    from handviz.models.amvur.training_cache import cache_landmarks
    from handviz.models.backbones.registry import make_backbone

    cache_landmarks(rendered_hands, shard_numbers(rendered_hands), LandmarkHead(), make_backbone("mediapipe_hand"))
    return rendered_hands


@pytest.fixture
def config(tmp_path: Path, cached_hands: Path) -> "TrainConfig":
    """Return a training config of two epochs of two steps on eight hands."""
    from handviz.models.amvur.training_config import TrainConfig
    from tests.small_trainings import SMALL

    return TrainConfig(
        data=(cached_hands,),
        run=tmp_path / "run",
        model=SMALL,
        epochs=2,
        batch_size=4,
        limit=8,
        warm_up_steps=2,
        checkpoint_every=2,
    )


class SmallModel(NamedTuple):
    """The same weights as checkpoint and as ONNX."""

    checkpoint: Path
    onnx: Path


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> SmallModel:
    """Save and export a narrow ``final`` with random weights."""
    made = made_once(run_folder(tmp_path_factory) / "made_once" / "model", _make_small_model)
    folder = Path(shutil.copytree(made, tmp_path_factory.mktemp("model") / "files"))
    return SmallModel(folder / "last", folder / "handviz_final.onnx")


def _make_small_model(folder: Path) -> None:
    import torch

    from handviz.__main__ import main
    from handviz.hand_models.open_hand import load_open_hand
    from handviz.models.amvur.model import ModelConfig, build_model
    from handviz.training.checkpoint import save_checkpoint

    template = load_open_hand()
    config = ModelConfig(width=32, regressor_width=32)
    torch.manual_seed(5)
    model = build_model(config, template)
    heads = model.heads
    with torch.no_grad():  # Equal constants, as untrained layers have them, would be stored once.
        for parameter in (*model.features.parameters(), *heads.parameters()):
            parameter += 0.01 * torch.randn_like(parameter)
    for last in (heads.amvur.mean[-1], heads.amvur.log_variance[-1], heads.prior.regress[-1]):
        torch.nn.init.normal_(last.weight, std=0.2)
    torch.nn.init.normal_(heads.amvur.mean[-1].weight, std=2.0)
    torch.nn.init.normal_(heads.camera.correction.weight, std=0.01)
    notes = {"samples_seen": 1234, "train": {"loss": {"vertex_correlation": 0.75}}}
    save_checkpoint(folder / "last", model, config, notes, template, {}, family="amvur")
    assert main(["export", str(folder / "last"), "--model-dir", str(folder)]) == 0


class SmallTexture(NamedTuple):
    """A narrow texture net, trained for two steps, as run and as ONNX."""

    run: Path
    onnx: Path


@pytest.fixture(scope="session")
def texture_hands(rendered_hands: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of ``rendered_hands`` with the texture net's training data beside the images."""
    from handviz.hand_models.open_hand import load_open_hand
    from handviz.models.texture.training_samples import load_texture_samples

    folder = tmp_path_factory.mktemp("texture") / "hands"
    shutil.copytree(rendered_hands, folder)
    load_texture_samples((folder,), load_open_hand())
    return folder


@pytest.fixture(scope="session")
def small_texture(texture_hands: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallTexture:
    """Train and export a small texture net by the commands' own code."""
    from handviz.__main__ import main
    from handviz.hand_models.open_hand import load_open_hand
    from handviz.models.texture.network import TextureConfig
    from handviz.models.texture.training import TextureTrainConfig, train_texture

    folder = tmp_path_factory.mktemp("texture_model")
    config = TextureTrainConfig(
        (texture_hands,), folder / "run", TextureConfig(width=16, layers=1), epochs=1, batch_size=8, limit=16
    )
    last = train_texture(config, load_open_hand())
    assert main(["texture", "export", str(last), "--model-dir", str(folder)]) == 0
    return SmallTexture(folder / "run", folder / "handviz_texture.onnx")


@pytest.fixture(scope="session")
def mano_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Write stand-ins of MANO_RIGHT.pkl and MANO_LEFT.pkl."""
    from tests.fake_datasets.stand_in_mano import write_stand_in_mano

    return write_stand_in_mano(tmp_path_factory.mktemp("mano_files"))
