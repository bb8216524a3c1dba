"""Keeps the readers' remarks about imperfect files out of the log; what matters is told as a warning of the series.

Static filters, because warnings.catch_warnings of two threads would undo each other.
"""

from __future__ import annotations

import logging
import warnings
from typing import Any

from pydicom import config

config.settings.reading_validation_mode = config.IGNORE
config.settings.writing_validation_mode = config.IGNORE
for _name in ("pydicom", "tifffile", "PIL", "openjpeg"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=_name)
warnings.filterwarnings("ignore", "The DICOM readers are highly experimental")  # when nibabel.nicom is imported


def csa() -> Any:
    """nibabel's reader of Siemens' private headers, imported at need: few files have them."""
    from nibabel.nicom import csareader

    return csareader
