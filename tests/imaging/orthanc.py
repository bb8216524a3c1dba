"""A PACS of one's own for a test: Debian's Orthanc on loopback, spoken to by C-STORE and over its REST API."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
from pynetdicom import AE, build_context
from pynetdicom.sop_class import Verification

PROGRAM = shutil.which("Orthanc")
TITLE = "AEGUITEST"


class Archive:
    """A running Orthanc. Its storage is forgotten with the folder."""

    def __init__(self, http: int, dicom: int) -> None:
        self._http, self._dicom = http, dicom

    def ask(self, path: str, data: bytes | None = None) -> Any:
        return json.loads(self.raw(path, data))

    def raw(self, path: str, data: bytes | None = None, method: str | None = None) -> bytes:
        request = urllib.request.Request(f"http://127.0.0.1:{self._http}{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            content: bytes = answer.read()
        return content

    def clear(self) -> None:
        """Forget all patients."""
        for patient in self.ask("/patients"):
            self.raw(f"/patients/{patient}", method="DELETE")

    def uids(self) -> set[str]:
        """SOP Instance UIDs of what it holds."""
        return {item["MainDicomTags"]["SOPInstanceUID"] for item in self.ask("/instances?expand")}

    def fetch(self, uid: str, path: Path) -> Path:
        """The file it holds under this SOP Instance UID."""
        (found,) = self.ask("/tools/lookup", uid.encode())
        path.write_bytes(self.raw(f"/instances/{found['ID']}/file"))
        return path

    def store(self, files: Iterable[Path]) -> dict[Path, str]:
        """C-STORE each file in its own transfer syntax; what the archive answered: "kept" or why not."""
        files = list(files)
        metas = {path: pydicom.filereader.read_file_meta_info(path) for path in files}
        kinds = {(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID) for meta in metas.values()}
        entity = AE(ae_title=TITLE)
        entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = 10
        # With the echo, an association stands even if no file may be sent.
        contexts = [build_context(Verification), *(build_context(*kind) for kind in sorted(kinds))]
        link = entity.associate("127.0.0.1", self._dicom, contexts=contexts, ae_title="ORTHANC")
        assert link.is_established
        accepted = {(item.abstract_syntax, item.transfer_syntax[0]) for item in link.accepted_contexts}
        answers = {}
        try:
            for path, meta in metas.items():
                if (meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID) not in accepted:
                    answers[path] = "transfer syntax refused"
                    continue
                status = link.send_c_store(path)
                answers[path] = "kept" if status and status.Status == 0 else f"status {status.get('Status', 'none')}"
        finally:
            link.release()
        return answers


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]
    finally:
        for item in sockets:
            item.close()


@contextmanager
def running(folder: Path) -> Iterator[Archive]:
    """Orthanc with its own configuration, ports and storage, ended with the block."""
    assert PROGRAM
    http, dicom = _free_ports(2)
    settings = {
        "Name": "aegui-test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [],
        "HttpPort": http,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomPort": dicom,
        # Orthanc's DICOM port listens on every address: only this machine may store.
        "DicomAlwaysAllowStore": False,
        "DicomAlwaysAllowEcho": False,
        "DicomCheckModalityHost": True,
        "DicomModalities": {"test": [TITLE, "127.0.0.1", 104]},
        "OverwriteInstances": False,
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("wb") as log:
        server = subprocess.Popen([PROGRAM, folder / "orthanc.json"], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        archive = Archive(http, dicom)
        try:
            deadline = time.monotonic() + 20
            while True:
                try:
                    archive.ask("/system")
                    break
                except (urllib.error.URLError, ConnectionError):
                    if server.poll() is not None or time.monotonic() > deadline:
                        raise AssertionError((folder / "orthanc.log").read_text()[-2000:]) from None
                    time.sleep(0.1)
            yield archive
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
