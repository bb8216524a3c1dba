"""Datasets that give the patient away in every attribute that de-identification is to treat."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import DicomDictionary, RepeatersDictionary
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRBigEndian, ImplicitVRLittleEndian

from aegui.imaging.dicom.deidentify import table
from tests.imaging.made_files import WHEEL

NAME, NUMBER = "Zyxwvut", 4711081547

# A value for each VR that says the name or the number; nothing else in the file may contain its bytes.
PLANTED: dict[str, Any] = {
    **dict.fromkeys(("LO", "ST", "LT", "UC", "UT"), f"{NAME} {NUMBER}"),
    "SH": f"{NAME}{NUMBER}"[:16],
    "AE": f"{NAME}47110815",
    "CS": NAME.upper(),
    "PN": f"{NAME}^{NUMBER}^M=Z{NAME}^I=P{NAME}",
    "AS": "047Y",
    "DA": "19470811",
    "TM": "114715",
    "DT": "19470811114715.47",
    "DS": str(NUMBER),
    "IS": str(NUMBER)[:9],
    "UI": f"1.2.{NUMBER}.1",
    "UR": f"http://{NAME}.example/{NUMBER}",
    **dict.fromkeys(("OB", "UN"), f"{NAME}{NUMBER}!".encode()),
    "US": [18189, 19533],
    "SS": [18189, 19533],
    **dict.fromkeys(("UL", "SL"), 1196835917),
    **dict.fromkeys(("FL", "FD"), float(NUMBER)),
    "AT": 0x47108154,
    "OW": f"{NAME}{NUMBER}!".encode(),
    "OF": f"{NAME}{NUMBER}!!!".encode(),
}
NEEDLES: list[bytes] = [
    *(word.encode() for word in (NAME, NAME.upper(), str(NUMBER)[:8], "19470811", "114715", "047Y")),
    *(struct.pack(order + code, value) for order in "<>" for code, value in (("d", NUMBER), ("f", NUMBER))),
    *(struct.pack(order + "I", 1196835917) for order in "<>"),
    *(struct.pack(order + "2H", 18189, 19533) for order in "<>"),
]


def found(data: bytes) -> list[bytes]:
    return [needle for needle in NEEDLES if needle in data]


def planted(tag: int, depth: int = 0) -> tuple[str, Any]:
    """VR and value of an element that gives the patient away."""
    vr = DicomDictionary[tag][0].split(" or ")[0] if tag in DicomDictionary else "LO"
    return vr, value_of(vr, depth)


def value_of(vr: str, depth: int = 0) -> Any:
    if vr == "SQ":
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = PLANTED["SH"], "99X", PLANTED["LO"]
        item.ReferencedSOPInstanceUID = PLANTED["UI"]
        item.PersonName = PLANTED["PN"]
        item.add_new(0x00290010, "LO", NAME)
        item.add_new(0x00291001, "LO", PLANTED["LO"])
        if depth < 2:
            item.ConceptNameCodeSequence = value_of("SQ", depth + 1)
        return Sequence([item])
    return PLANTED[vr]


def plant(target: Dataset) -> None:
    """Every attribute of the table, curves, overlays, private blocks and what no dictionary knows."""
    for tag in table():
        if Tag(tag).group >= 0x0008:
            vr, value = planted(tag)
            target.add_new(tag, vr, value)
    for group in (0x5000, 0x501E, 0x6000, 0x601E):
        for mask in RepeatersDictionary:
            if mask[:4] == f"{group:04X}"[:2] + "xx":
                vr = RepeatersDictionary[mask][0].split(" or ")[0]
                target.add_new(group << 16 | int(mask[4:], 16), vr, value_of(vr))
    target.add_new(0x00084001, "LO", PLANTED["LO"])  # of no dictionary
    target.add_new(0x00142006, "PN", PLANTED["PN"])  # a name that the table forgets
    target.add_new(0x00281167, "LO", PLANTED["LO"])
    for group in (0x0009, 0x0029, 0x7FE1):
        target.add_new(group << 16 | 0x0010, "LO", f"{NAME} HEADER")
        for element, vr in enumerate(("LO", "PN", "OB", "UN", "FD", "SH", "LT", "UI"), 0x1001):
            target.add_new(group << 16 | element, vr, PLANTED[vr])
        target.add_new(group << 16 | 0x1050, "SQ", value_of("SQ"))


def full_of_names(syntax: str) -> Dataset:
    """A CT slice with the plants at the top and three sequences deep."""
    item = pydicom.dcmread(WHEEL / "CT_small.dcm")
    item.remove_private_tags()
    item.file_meta.SourceApplicationEntityTitle = PLANTED["AE"]
    item.file_meta.ReceivingApplicationEntityTitle = PLANTED["AE"]
    item.file_meta.PrivateInformationCreatorUID = PLANTED["UI"]
    item.file_meta.PrivateInformation = PLANTED["OB"]
    item.preamble = (NAME.encode() * 20)[:128]
    item.PixelData = bytes(len(item.PixelData))
    where = item
    plant(where)
    for keyword in ("AnatomicRegionSequence", "AnatomicRegionModifierSequence", "ConceptCodeSequence"):
        inner = Dataset()
        plant(inner)
        setattr(where, keyword, Sequence([inner]))
        where = inner
    item.file_meta.TransferSyntaxUID = UID(syntax)
    item.set_original_encoding(syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian, None)
    item.PatientName = PLANTED["PN"]
    return item


def written(item: Dataset, path: Path) -> Path:
    syntax = item.file_meta.TransferSyntaxUID
    item.save_as(
        path,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
        enforce_file_format=True,
    )
    return path
