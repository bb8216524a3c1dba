"""Frames are decoded in processes of their own, whatever becomes of them."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
import pydicom
import pytest

from aegui import decoding
from aegui.decoding import pool, worker
from aegui.errors import UserError
from aegui.imaging.dicom.pixels import decode

WHEEL = Path(pydicom.__file__).parent / "data" / "test_files"
J2K = WHEEL / "MR_small_jp2klossless.dcm"
TRUTH = pydicom.dcmread(WHEEL / "MR_small.dcm").pixel_array


def workers() -> list[psutil.Process]:
    """The decoding processes that are there."""
    return [child for child in psutil.Process().children() if Path(worker.__file__).name in " ".join(child.cmdline())]


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    decoding.shut_down()
    yield
    decoding.shut_down()
    assert workers() == []


@pytest.fixture
def replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """replaced("expression"): what every decoder named in it does instead."""

    def replace(changes: str) -> None:
        script = tmp_path / "worker.py"
        script.write_text(
            "import importlib.util, os, sys, time\n"
            f"spec = importlib.util.spec_from_file_location('worker', {worker.__file__!r})\n"
            "module = importlib.util.module_from_spec(spec)\n"
            "spec.loader.exec_module(module)\n"
            f"module.DECODERS.update({changes})\n"
            "module.main()\n"
        )
        monkeypatch.setattr(worker, "__file__", str(script))

    return replace


def test_a_worker_starts_without_numpy_aegui_torch_or_qt() -> None:
    code = (
        "import sys, importlib.util as u; s = u.spec_from_file_location('w', sys.argv[1]); m = u.module_from_spec(s);"
        "s.loader.exec_module(m); print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    run = subprocess.run([sys.executable, "-c", code, worker.__file__], capture_output=True, text=True, check=True)
    assert not set(run.stdout.split()) & {"numpy", "pydicom", "aegui", "torch", "PySide6", "SimpleITK"}


def test_a_crash_of_one_decoder_leaves_the_work_to_the_next(replaced: Callable[[str], None]) -> None:
    replaced("{'openjpeg': lambda data, header: os.abort(), 'pillow': lambda data, header: os.abort()}")
    np.testing.assert_array_equal(decode(J2K), TRUTH)


def test_a_crash_of_every_decoder_names_the_file_and_the_next_file_is_read(replaced: Callable[[str], None]) -> None:
    replaced("{name: lambda data, header: os.abort() for name in ('openjpeg', 'pillow', 'gdcm')}")
    with pytest.raises(UserError, match=r"MR_small_jp2klossless\.dcm cannot be read: the decoder crashed"):
        decode(J2K)
    np.testing.assert_array_equal(decode(WHEEL / "MR_small_RLE.dcm"), TRUTH)


def test_a_decoder_that_hangs_is_ended(replaced: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    replaced("{'openjpeg': lambda data, header: time.sleep(60)}")
    monkeypatch.setattr(pool, "_SECONDS", 0.3)
    start = time.monotonic()
    with pytest.raises(UserError, match=r"MR_small_jp2klossless\.dcm .* takes too long"):
        decode(J2K)
    assert time.monotonic() - start < 5
    assert workers() == []


def test_a_decoder_that_others_keep_from_its_work_is_waited_for(
    replaced: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced("{'openjpeg': lambda data, header, real=module.openjpeg: (time.sleep(0.6), real(data, header))[1]}")
    monkeypatch.setattr(pool, "_SECONDS", 0.4)
    np.testing.assert_array_equal(decode(J2K), TRUTH)


def test_a_decoder_that_works_without_end_is_ended_at_once(
    replaced: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced("{'openjpeg': lambda data, header: [None for _ in iter(int, 1)]}")
    monkeypatch.setattr(pool, "_SECONDS", 1.0)
    start = time.monotonic()
    with pytest.raises(UserError, match="takes too long"):
        decode(J2K)
    assert time.monotonic() - start < 20  # 2 on a machine that is not busy with tests; else never


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_decoder_that_wants_all_memory_gets_none_of_it(replaced: Callable[[str], None]) -> None:
    replaced("{name: lambda data, header: bytearray(3 << 30) for name in ('openjpeg', 'pillow', 'gdcm')}")
    with pytest.raises(UserError, match="more memory than its size allows"):
        decode(J2K)


def test_what_a_decoder_prints_does_not_get_into_the_pixels(replaced: Callable[[str], None]) -> None:
    chatty = "(os.write(1, b'x' * 99), print('y'), real(data, header))[2]"
    replaced(f"{{'charls': lambda data, header, real=module.charls: {chatty}}}")
    np.testing.assert_array_equal(decode(WHEEL / "MR_small_jpeg_ls_lossless.dcm"), TRUTH)


def test_an_error_of_a_decoder_is_told_and_the_worker_goes_on() -> None:
    told = {"rows": 4, "columns": 4, "samples": 1, "allocated": 8, "stored": 8, "signed": False, "precision": 8}
    for _ in range(3):
        with pytest.raises(decoding.DecodingError, match="JPEG-LS"):
            decoding.decode(("charls",), {**told, "syntax": "1.2.840.10008.1.2.4.80"}, b"\xff\xd8nothing")
    (first,) = workers()
    decode(WHEEL / "MR_small_jpeg_ls_lossless.dcm")
    assert workers() == [first]


def test_a_worker_that_the_system_ended_is_replaced() -> None:
    decode(J2K)
    (one,) = workers()
    one.kill()
    one.wait()
    np.testing.assert_array_equal(decode(J2K), TRUTH)


def test_many_threads_share_two_workers() -> None:
    wrong: list[str] = []

    def read() -> None:
        names = ("MR_small_jp2klossless", "MR_small_RLE", "MR_small_jpeg_ls_lossless") * 3
        wrong.extend(name for name in names if not np.array_equal(decode(WHEEL / f"{name}.dcm"), TRUTH))

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert 1 <= len(workers()) <= 2


def test_pixels_without_compression_need_no_worker() -> None:
    for name in ("MR_small", "MR_small_bigendian", "MR_small_implicit", "image_dfl", "liver_1frame"):
        decode(WHEEL / f"{name}.dcm")
    assert workers() == []


def test_a_program_without_standard_streams_decodes_too(tmp_path: Path, repository: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from aegui.imaging.dicom.pixels import decode;"
        "Path(sys.argv[2]).write_text(str(decode(Path(sys.argv[1])).sum()))"
    )
    command = 'exec "$@" <&- >&- 2>&-'
    arguments = ["sh", "-c", command, "sh", sys.executable, "-c", code, str(J2K), str(tmp_path / "sum")]
    subprocess.run(arguments, cwd=repository, check=True, timeout=60)
    assert (tmp_path / "sum").read_text() == str(TRUTH.sum())


def test_the_workers_end_with_the_program(repository: Path) -> None:
    code = (
        "import sys, psutil; from pathlib import Path; from aegui.imaging.dicom.pixels import decode;"
        "decode(Path(sys.argv[1]));"
        "print(psutil.Process().children()[0].pid, flush=True); {}"
    )
    for end in ("", "import os; os._exit(1)"):
        run = subprocess.run(
            [sys.executable, "-c", code.format(end), str(J2K)],
            cwd=repository,
            capture_output=True,
            text=True,
            timeout=60,
        )
        pid, deadline = int(run.stdout), time.monotonic() + 5
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_the_program_serves_as_its_own_worker(repository: Path) -> None:
    question = BytesIO()
    worker.send(question, {"task": "load", "decoder": "rle"})
    run = subprocess.run(
        [sys.executable, repository / "main.py", worker.FLAG],
        input=question.getvalue(),
        capture_output=True,
        timeout=60,
    )
    assert worker.receive(BytesIO(run.stdout)) == ({}, b"")  # type: ignore[arg-type]
