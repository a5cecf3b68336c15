"""Learning curves, and the logs that they are drawn from."""

import cv2
import numpy as np
import pytest

import tools
from handviz.core.errors import HandvizError
from tools import plot_training
from tools.plot_training import draw_learning_curve, read_log

HEADER = "step,loss,vertices,vertex_error_mm,std_mm,image_error_percent"


@pytest.fixture
def saved(monkeypatch):
    """Collect the figures instead of saving them."""
    figures = []
    save = plot_training.save_figure
    monkeypatch.setattr(plot_training, "save_figure", lambda figure, path: figures.append(figure) or save(figure, path))
    return figures


def lines_of(axes):
    return {line.get_label(): line for line in axes.get_lines()}


@pytest.fixture
def run(tmp_path):
    """Create a run's folder with this log."""

    def make(text, name="first"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "log.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        return folder

    return make


def test_a_log_counts_steps_by_the_batch(run, monkeypatch):
    log = read_log(run(f"{HEADER}\n200,2.4,.8,15.5,17,5\n400,3.1,.9,14.25,18,5\n"))
    np.testing.assert_array_equal(log.crops_seen, [200 * 64, 400 * 64])
    np.testing.assert_array_equal(log.errors_mm["vertex_error_mm"], [15.5, 14.25])
    monkeypatch.setattr(plot_training, "read_metadata", lambda folder: {"notes": '{"train": {"batch_size": 32}}'})
    np.testing.assert_array_equal(read_log(run(f"{HEADER}\n5,1,1,1,1,1\n", "second")).crops_seen, [160])


def test_crops_seen_and_aligned_error_are_preferred(run, tmp_path, saved):
    log = read_log(run("step,crops_seen,vertex_error_mm,pa_mpjpe_mm\n1,100,20,10\n2,300,18,9\n"))
    np.testing.assert_array_equal(log.crops_seen, [100, 300])
    draw_learning_curve([log], tmp_path / "one.png")
    np.testing.assert_array_equal(lines_of(saved[0].axes[0])["first"].get_ydata(), [10, 9])
    older = read_log(run("step,vertex_error_mm\n1,21\n", "older"))
    draw_learning_curve([log, older], tmp_path / "two.png")
    np.testing.assert_array_equal(lines_of(saved[1].axes[0])["first"].get_ydata(), [20, 18])
    assert "vertex error" in saved[1].axes[0].get_ylabel()


def test_logs_without_an_error_in_common_are_said(run, tmp_path):
    logs = [
        read_log(run("step,pa_mpjpe_mm\n1,9\n", "new")),
        read_log(run("step,vertex_error_mm\n1,9\n", "old")),
    ]
    with pytest.raises(HandvizError, match="different errors"):
        draw_learning_curve(logs, tmp_path / "picture.png")


def test_of_a_step_written_twice_the_later_row_counts(run):
    log = read_log(run("step,vertex_error_mm\n200,9\n400,8\n200,7\n600,6\n"))
    np.testing.assert_array_equal(log.crops_seen, np.array([200, 400, 600]) * 64)
    np.testing.assert_array_equal(log.errors_mm["vertex_error_mm"], [7, 8, 6])


def test_rows_of_before_validation_stay_out(run):
    log = read_log(run("step,crops_seen,vertex_error_mm\n1,9,\n2,19,8\n3,29,7\n"))
    np.testing.assert_array_equal(log.crops_seen, [19, 29])
    np.testing.assert_array_equal(log.errors_mm["vertex_error_mm"], [8, 7])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step,vertex_error_mm\n1,\n", "train with --validation"),
        ("step,vertex_error_mm\n1,\n2,x\n", "line 3: vertex_error_mm is 'x'"),
        ("", "no rows with step"),
        (f"{HEADER}\n", "no rows with step"),
        ("step,loss\n200,2.4\n", "train with --validation"),
        ("name,age\nEve,7\n", "no rows with step"),
        ("step,vertex_error_mm\n200,9\n400\n", r"line 3: .*None"),
        ("step,vertex_error_mm\n200,9,8,7\n", "line 2: .*as many cells as the header"),
        ("step,vertex_error_mm\n200,nan\n", "line 2: vertex_error_mm is 'nan'"),
        ("step,vertex_error_mm\n200,-3\n", "line 2: vertex_error_mm is '-3'"),
        ("step,vertex_error_mm\nmany,9\n", "line 2: step is 'many'"),
        ("step,crops_seen,vertex_error_mm\n1,,9\n", "line 2: crops_seen is ''"),
        (b"\x89PNG\r\n\xff\xfe\x00", "not the log of a run"),
        ("step,vertex_error_mm\n1," + "9" * 200_000 + "\n", "not the log of a run"),
    ],
)
def test_foreign_and_damaged_logs_are_said(run, text, message):
    folder = run(text)
    with pytest.raises(HandvizError, match=message) as caught:
        read_log(folder)
    assert "log.csv" in str(caught.value)


def test_the_tool_draws_several_runs(run, tmp_path):
    folders = [run("step,vertex_error_mm\n200,9\n400,8\n", name) for name in ("one", "two")]
    image = tmp_path / "deep" / "curve.png"
    assert tools.run("plot_training", [*map(str, folders), "--out", str(image)]) == 0
    assert cv2.imread(str(image)).std() > 5


@pytest.mark.parametrize(
    ("out", "message"),
    [("curve.jpg", "must end in .png or .svg"), ("curve", "must end in"), ("taken.png", "cannot write")],
)
def test_places_where_no_image_can_be_are_said(run, tmp_path, capsys, out, message):
    (tmp_path / "taken.png").mkdir()
    folder = run("step,vertex_error_mm\n200,9\n")
    assert tools.run("plot_training", [str(folder), "--out", str(tmp_path / out)]) == 1
    assert message in capsys.readouterr().err


def test_a_run_that_is_not_there_is_said(tmp_path, capsys):
    assert tools.run("plot_training", [str(tmp_path / "nowhere"), "--out", str(tmp_path / "a.png")]) == 1
    assert "log.csv is missing" in capsys.readouterr().err
