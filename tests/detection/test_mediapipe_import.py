"""MediaPipe is imported without plot and sound libraries, and both can be imported afterwards."""

import subprocess
import sys

from handviz.core.paths import PROJECT_ROOT


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, check=True, timeout=120)


def test_plots_and_sound_are_not_loaded_and_can_be_later() -> None:
    run(
        "import sys, handviz.detection.landmarker\n"
        "assert not {'matplotlib', 'matplotlib.pyplot', 'sounddevice'} & set(sys.modules)\n"
        "import matplotlib.figure\n"
        "assert matplotlib.figure.Figure(figsize=(1, 1)).subplots() is not None"
    )


def test_messages_are_fewer_only_where_the_program_wants_that() -> None:
    names = ("TF_CPP_MIN_LOG_LEVEL", "GLOG_minloglevel")
    for call, values in (("", [None, None]), ("silence_libraries()", ["2", "2"])):
        run(
            "import os\n"
            f"names = {names!r}\n"
            "for name in names: os.environ.pop(name, None)\n"
            "from handviz.core.output import silence_libraries\n"
            f"{call}\n"
            "assert not any(map(os.environ.get, names)), 'before MediaPipe is loaded'\n"
            "import handviz.detection.landmarker\n"
            f"assert list(map(os.environ.get, names)) == {values!r}"
        )


def test_what_is_loaded_already_stays() -> None:
    run(
        "import sys, matplotlib\n"
        "import handviz.detection.landmarker\n"
        "assert sys.modules['matplotlib'] is matplotlib\n"
        "assert matplotlib.__version__"
    )
