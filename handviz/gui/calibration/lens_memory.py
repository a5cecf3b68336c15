"""Lenses between runs: every camera has its own, all other sources share one."""

from handviz.core.errors import HandvizError
from handviz.core.lens import ASSUMED_LENS, Lens
from handviz.core.lens_files import lens_from_text, lens_text
from handviz.gui.session.settings import SettingsStore
from handviz.sources.sources import CAMERA_PREFIX

OTHER_SOURCES = "clips, folders and pictures"


def owner_of(source: str, camera_name: str) -> str:
    """Whose lens a source has: the camera's, by its name in the system if it has one, or that of all files."""
    return (camera_name or source) if source.startswith(CAMERA_PREFIX) else OTHER_SOURCES


def kept_lens(store: SettingsStore, owner: str) -> Lens:
    """What was told last; the assumed lens if nothing was, or nothing that can be read."""
    try:
        return lens_from_text(store.text(_key(owner)))
    except HandvizError:
        return ASSUMED_LENS


def keep_lens(store: SettingsStore, owner: str, lens: Lens) -> None:
    """Remember it."""
    text = lens_text(lens)
    if text != store.text(_key(owner)):
        store.remember(_key(owner), text)


def _key(owner: str) -> str:
    # Whatever a camera is called, it makes no groups in the settings file.
    return f"lens_of_{owner}".replace("/", "_").replace("\\", "_")
