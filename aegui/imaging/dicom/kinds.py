"""What is denoised, what is only shown, what is only listed: one table, told by SOP class, Image Type, encoding."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from aegui.imaging.dicom.elements import text, whole

if TYPE_CHECKING:
    from aegui.imaging.dicom.frames import Frame
    from aegui.imaging.dicom.headers import Header

Treat = Literal["denoise", "view", "list"]

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_COMPLEX = {"PHASE": "Phase", "REAL": "Real part", "IMAGINARY": "Imaginary part"}
# Image Type values by which scanners name a component of complex data, where no element does.
_COMPONENT = {"P": "PHASE", "PHASE": "PHASE", "PHASE MAP": "PHASE", "PHASE_MAP": "PHASE", "R": "REAL", "REAL": "REAL"}
_COMPONENT |= {"I": "IMAGINARY", "IMAGINARY": "IMAGINARY", "M": "MAGNITUDE", "MAGNITUDE": "MAGNITUDE"}
_GE_COMPONENT = ("MAGNITUDE", "PHASE", "REAL", "IMAGINARY")

# Most MR scanners do not mark localizers other than by name.
_NAMED_LOCALIZER = re.compile(
    r"(?<![a-z])(locali[sz]ers?|scouts?|surveys?|surview|topograms?|scanogram)(?![a-z])", re.I
)
_LOCALIZERS = frozenset(["LOCALIZER", "SCOUT", "TOPOGRAM", "SURVEY"])
_MAPS = frozenset(("ADC", "EADC", "EXP_ADC", "FA", "RA", "COLFA", "MD", "TENSOR", "EIGENVECTOR", "VECTOR"))
_MAPS |= {"DIFFUSION_ANISO", "RCBF", "RCBV", "CBF", "CBV", "MTT", "TTP", "TMAX", "PBP", "KTRANS", "K_TRANS", "KEP"}
_MAPS |= {"RELCBF", "RELCBV", "RELMTT", "RELTTP", "RELTMAX", "VE", "VP", "IAUC", "PDFF", "QSM", "STIFFNESS"}
_MAPS |= {"T_TEST", "TTEST", "Z_SCORE", "STD_DEVIATION", "DIVISION", "QUANTITY"}
_VELOCITY = frozenset(("VELOCITY", "VELOCITY MAP", "VELOCITY_MAP", "VEL"))
_PROJECTIONS = frozenset(("MIP", "MAX_IP", "MIN_IP", "MINIP", "MNIP", "MAXIMUM", "MINIMUM", "VRT", "SSD", "VOLREN"))
_PROJECTIONS |= {"RENDERED", "PROJECTION IMAGE", "VOLUME_RENDER", "VOLUME RENDERED", "SURFACE_RENDER"}
_CAPTURES = frozenset(("SCREEN SAVE", "SCREENSHOT", "SCREEN_CAPTURE", "DOSE_INFO"))
# Rescale Types of CT that are no HU; reformatted CT often says US, unspecified, or spells Hounsfield out.
_NO_HOUNSFIELD = ("OD", "MGML", "MG/ML", "Z_EFF", "ED", "EDW", "PCT", "%")
_PET_IMAGES = ("", "BQML", "CNTS", "GML", "CM2ML", "CPS", "PROPCNTS", "PROPCPS", "NONE")
_MOST_BITS = 32


@dataclass(frozen=True)
class Facts:
    """What decides about one volume.

    types: values 3…n of Image Type or Frame Type. component: of complex data, "" if unknown. calculation: Volume
    Based Calculation Technique. quantity: Rescale Type. allocated: bits. lut: Modality LUT Sequence present.
    """

    sop_class: str = ""
    modality: str = ""
    types: frozenset[str] = frozenset()
    component: str = ""
    calculation: str = ""
    quantity: str = ""
    units: str = ""
    photometric: str = "MONOCHROME2"
    samples: int = 1
    bits: int = 16
    allocated: int = 16
    lut: bool = False
    description: str = ""


@dataclass(frozen=True)
class Kind:
    """One row of the table. told_by: how it is recognised, in words. reason: "" for what is denoised.

    classes: SOP Class UIDs below the storage root; "481." means all that begin so. modalities: what stands in for
    a SOP class that the file lacks. The first row that fits decides.
    """

    name: str
    told_by: str
    treat: Treat
    reason: str = ""
    classes: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    test: Callable[[Facts], bool] | None = None

    def fits(self, facts: Facts) -> bool:
        """Whether this row speaks of such a volume."""
        if self.test is not None and self.test(facts):
            return True
        if not facts.sop_class:
            return facts.modality in self.modalities
        below = facts.sop_class.removeprefix(_STORAGE)
        return below != facts.sop_class and any(
            below.startswith(part) if part.endswith(".") else below == part for part in self.classes
        )


def _object(name: str, classes: str, modalities: str = "", test: Callable[[Facts], bool] | None = None) -> Kind:
    return Kind(
        name, "SOP class", "list", f"{name}: not a scan.", tuple(classes.split()), tuple(modalities.split()), test
    )


def _shown(
    name: str,
    told_by: str,
    test: Callable[[Facts], bool] | None = None,
    classes: str = "",
    modalities: str = "",
    reason: str = "",
) -> Kind:
    words = reason or f"{name}: shown, not denoised."
    return Kind(name, told_by, "view", words, tuple(classes.split()), tuple(modalities.split()), test)


def _images(name: str, classes: str, modalities: str, told_by: str = "SOP class") -> Kind:
    return Kind(name, told_by, "denoise", "", tuple(classes.split()), tuple(modalities.split()))


def _is_velocity(facts: Facts) -> bool:
    return bool(_VELOCITY & facts.types) and facts.component != "MAGNITUDE"


def _is_map(facts: Facts) -> bool:
    return bool(_MAPS & facts.types) or any(value.endswith((" MAP", "_MAP", "FRACTION")) for value in facts.types)


def _is_projection(facts: Facts) -> bool:
    return bool(_PROJECTIONS & facts.types) or facts.calculation in _PROJECTIONS


KINDS: tuple[Kind, ...] = (
    _object("Segmentation", "66.4 66.5 66.7 66.8", "SEG"),
    _object("Parametric map", "30"),
    _object("Radiotherapy dose", "481.2", "RTDOSE"),
    _object("Radiotherapy image", "481.1 481.23 481.24", "RTIMAGE"),
    _object("Radiotherapy structure set", "481.3", "RTSTRUCT"),
    _object("Radiotherapy plan", "481.5 481.8", "RTPLAN"),
    _object("Radiotherapy object", "481.", "RTRECORD RTINTENT RTSEGANN RTRAD"),
    _object("Structured report", "88.", "SR"),
    _object("Presentation state", "8 10 11 11.", "PR"),
    _object("Document", "104.", "DOC"),
    _object("Waveform", "9 9. 129", "ECG HD EPS AU RESP EEG"),
    _object("Whole-slide microscopy", "77.1.6 77.1.9 91.1", "SM"),
    _object("Registration", "66.1 66.2 66.3", "REG FID"),
    _object("Value mapping", "67", "RWV"),
    _object("Spectroscopy", "4.2"),
    _object("Raw data", "66 66.6 68.", ""),
    _object("Measurement", "78. 79. 80. 81. 82. 77.1.5.3 90.1", "KER LEN OAM OPV"),
    _object("Protocol", "200. 201.", "PLAN"),
    Kind(
        "One-bit image",
        "Bits Allocated or Stored 1",
        "list",
        "One-bit image: not a scan.",
        ("7.1",),
        (),
        lambda f: 1 in (f.bits, f.allocated),
    ),
    Kind(
        "Unusual encoding",
        "values per pixel other than 1 or 3; more than 32 bits, or more stored than allocated",
        "list",
        "Unusual bit layout: not read.",
        (),
        (),
        lambda f: f.samples not in (1, 3) or not f.bits <= f.allocated <= _MOST_BITS,
    ),
    _shown("Palette colours", "Photometric Interpretation PALETTE COLOR", lambda f: f.photometric == "PALETTE COLOR"),
    _shown(
        "Colour ultrasound",
        "ultrasound with three values per pixel: Doppler, elastography, captures",
        lambda f: f.samples == 3 and f.modality in ("US", "IVUS"),
    ),
    _shown(
        "Colour", "three values per pixel", lambda f: f.samples == 3 or f.photometric.startswith(("RGB", "YBR")), "4.3"
    ),
    _shown(
        "Mammography",
        "SOP class, tomosynthesis too",
        None,
        "1.2 1.2.1 13.1.3 13.1.4 13.1.5",
        "MG",
        "Mammography: shown, denoised only where you switch it on.",
    ),
    _shown("Secondary capture", "SOP class", None, "7 7.2 7.3 7.4", "SC"),
    _shown("Screen capture", "Image Type SCREEN SAVE and its like", lambda f: bool(_CAPTURES & f.types)),
    _shown(
        "Photograph, endoscopy, eye or vessel tomography",
        "SOP class: visible light, ophthalmic, OCT",
        None,
        "77. 14.1 14.2",
        "XC GM ES OP OPT OCT IVOCT DMS",
    ),
    _shown(
        "Localizer",
        "Image Type LOCALIZER, SCOUT; Series Description that names it localizer, scout, survey, topogram",
        lambda f: bool(_LOCALIZERS & f.types) or bool(_NAMED_LOCALIZER.search(f.description)),
    ),
    _shown("Velocity map", "Image Type VELOCITY", _is_velocity),
    _shown("Phase image", "Complex Image Component PHASE; MR Image Type P, PHASE", lambda f: f.component == "PHASE"),
    _shown(
        "Real or imaginary part",
        "Complex Image Component REAL, IMAGINARY; MR Image Type R, I",
        lambda f: f.component in ("REAL", "IMAGINARY"),
    ),
    _shown(
        "Derived map",
        "Image Type ADC, FA, tensor, perfusion (CBF, CBV, MTT, TTP …), T1 MAP, … MAP, statistics",
        _is_map,
    ),
    _shown("Projection", "Image Type MIP, MAX_IP, MIN_IP, rendering", _is_projection),
    _shown("Fused image", "Image Type FUSED, FUSION", lambda f: bool({"FUSED", "FUSION"} & f.types)),
    _shown(
        "CT values other than HU",
        "Rescale Type other than HU: effective atomic number, iodine, electron density",
        lambda f: f.modality == "CT" and f.quantity in _NO_HOUNSFIELD,
        reason="The values are not HU: shown, not denoised.",
    ),
    _shown(
        "PET parametric image",
        "Units other than activity, counts or SUV",
        lambda f: f.modality == "PT" and f.units not in _PET_IMAGES,
    ),
    _shown("Values through a look-up table", "Modality LUT Sequence", lambda f: f.lut),
    _images("CT", "2 2.1 2.2", "CT", "SOP class: CT, enhanced, legacy converted"),
    _images("MR", "4 4.1 4.4", "MR", "SOP class: MR, enhanced, legacy converted"),
    _images("PET", "128 128.1 130", "PT", "SOP class: PET, enhanced, legacy converted"),
    _images("Nuclear medicine", "5 20", "NM ST"),
    _images(
        "Radiograph",
        "1 1.1 1.1.1 1.3 1.3.1",
        "CR DX IO PX RG",
        "SOP class: CR, DX, intra-oral, FOR PRESENTATION and FOR PROCESSING alike",
    ),
    _images("X-ray angiography and fluoroscopy", "12. 13.1.1 13.1.2", "XA RF"),
    _images("Ultrasound, grey", "3 3.1 6 6.1 6.2", "US IVUS", "SOP class: single frames, loops, volumes"),
    Kind(
        "Image that does not say what it is",
        "no SOP class and no known modality",
        "denoise",
        "",
        (),
        (),
        lambda f: not f.sop_class,
    ),
    _shown("Other kind of object", "any other SOP class", lambda _: True),
)


def component(declared: str, image_type: tuple[str, ...], modality: str) -> str:
    """MAGNITUDE, PHASE, REAL or IMAGINARY, "" if nothing tells. declared: by an element of the file."""
    if declared in _GE_COMPONENT:
        return declared
    if declared.isdigit() and int(declared) < len(_GE_COMPONENT):
        return _GE_COMPONENT[int(declared)]
    if modality != "MR":
        return ""
    return next((_COMPONENT[value] for value in image_type[2:] if value in _COMPONENT), "")


@lru_cache(4096)
def kind_of(facts: Facts) -> Kind:
    """The row of the table that speaks of a volume."""
    return next(kind for kind in KINDS if kind.fits(facts))


def contrast(component: str, image_type: tuple[str, ...], calculation: str = "") -> str:
    """Names what must not share a volume with ordinary images: "Phase", "Localizer", "Derived map" …, else ""."""
    if component in _COMPLEX:
        return _COMPLEX[component]
    facts = Facts(types=frozenset(image_type[2:]), calculation=calculation, sop_class=f"{_STORAGE}4")
    kind = kind_of(facts)
    return kind.name if kind.treat == "view" else ""


def is_scan(sop_class: str, modality: str) -> bool:
    """Whether such objects are slices to denoise."""
    return bool(sop_class or modality) and kind_of(Facts(sop_class=sop_class, modality=modality)).treat == "denoise"


def without_pixels(sop_class: str, modality: str) -> str:
    """What to say of an object that holds no image."""
    if not sop_class and not modality:
        return "Not an image."
    if modality == "KO" or sop_class == f"{_STORAGE}88.59":
        return "Key object note: holds no image."
    for facts in (Facts(sop_class=sop_class, modality=modality), Facts(modality=modality)):
        kind = next((kind for kind in KINDS if kind.treat == "list" and kind.fits(facts)), None)
        if kind is not None:
            return f"{kind.name}: holds no image."
    return "Holds no pixel data."


def treatment(header: Header, frame: Frame) -> tuple[Treat, str]:
    """What may be done with a volume of this file, whose slices are like `frame`, and why not more."""
    facts = Facts(
        sop_class=header.sop_class,
        modality=header.modality,
        types=frozenset(frame.image_type[2:]),
        component=frame.component,
        calculation=frame.calculation,
        quantity=(frame.quantity or text(header, "RescaleType")).upper(),
        units=text(header, "Units").upper(),
        photometric=header.photometric,
        samples=header.samples,
        bits=header.bits,
        allocated=whole(header, "BitsAllocated", 16),
        lut="ModalityLUTSequence" in header,
        description=header.description,
    )
    kind = kind_of(facts)
    return kind.treat, kind.reason
