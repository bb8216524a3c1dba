"""Run the frozen program as on a machine without Python and without network, and say what fails.

python packaging/check_frozen.py dist/aegui [--picture window.png] [--skip demo,window]

The folder (or the tarball, or the .deb) is copied to a temporary place. The program gets an empty environment and an
empty PATH; as root on Linux it also gets a network namespace without network, and the checkout and the Python that
built it are hidden from it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# One grey slice per transfer syntax: a file of pydicom's or pydicom-data's wheel, or one made from such a file.
SYNTAXES = {
    "implicit little endian": "MR_small_implicit.dcm",
    "explicit little endian": "CT_small.dcm",
    "explicit big endian": "MR_small_bigendian.dcm",
    "deflated": "CT_small.dcm",
    "RLE": "MR_small_RLE.dcm",
    "JPEG baseline": "MR_small.dcm",
    "JPEG extended, 12 bit": "JPGExtended.dcm",
    "JPEG lossless": "JPEG-LL.dcm",
    "JPEG lossless, first order": "JPGLosslessP14SV1_1s_1f_8b.dcm",
    "JPEG 2000 lossless": "MR_small_jp2klossless.dcm",
    "JPEG 2000": "693_J2KI.dcm",
    "JPEG-LS lossless": "MR_small_jpeg_ls_lossless.dcm",
    "JPEG-LS near-lossless": "CT_small.dcm",
}


def say(text: str) -> None:
    print(text, flush=True)


class Failed(Exception):  # noqa: N818 - a verdict, not an error
    """What did not work, in one sentence."""


# --- the bare machine ------------------------------------------------------------------------------------------


def hidden_folders() -> list[Path]:
    """Where a Python or the source could be found: the checkout, this environment, the Python it was made from."""
    folders = {ROOT, Path(sys.prefix), Path(sys.base_prefix)} - {Path("/usr"), Path("/")}
    folders |= set(Path("/usr/lib").glob("python3*")) | set(Path("/usr/local/lib").glob("python3*"))
    there = {folder.resolve() for folder in folders if folder.is_dir()}
    return sorted(folder for folder in there if not there & set(folder.parents))


class Machine:
    """Starts the frozen program with nothing of the surroundings."""

    def __init__(self, program: Path, home: Path) -> None:
        self.program = program
        self.empty = home / "empty"
        self.empty.mkdir(parents=True)
        self.environment = {"HOME": str(home), "PATH": str(self.empty), "LANG": "C.UTF-8", "TMPDIR": str(home)}
        self.wrapper: list[str] = []
        self.isolation = "empty environment and PATH"
        if sys.platform == "linux" and os.geteuid() == 0 and shutil.which("unshare"):
            hide = "; ".join(f"mount --bind {self.empty} {folder}" for folder in hidden_folders())
            wrapper = ["unshare", "--net", "--mount", "sh", "-c", f'{hide}; exec "$@"', "sh"]
            if subprocess.run([*wrapper, "/bin/true"], capture_output=True, check=False).returncode == 0:
                self.wrapper = wrapper
                self.isolation += ", no network, no Python and no checkout to be found"

    def command(self, *arguments: str | Path, **environment: str) -> list[str]:
        variables = [f"{name}={value}" for name, value in {**self.environment, **environment}.items()]
        return [*self.wrapper, "/usr/bin/env", "-i", *variables, str(self.program), *map(str, arguments)]

    def run(self, *arguments: str | Path, codes: tuple[int, ...] = (0,), limit: float = 600) -> str:
        result = subprocess.run(
            self.command(*arguments),
            cwd=self.empty,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
        if result.returncode not in codes:
            raise Failed(
                f"`aegui {' '.join(map(str, arguments))}` ended with {result.returncode}: "
                f"{(result.stderr or result.stdout).strip()[-1500:]}"
            )
        return result.stdout


# --- what is tried -----------------------------------------------------------------------------------------------


def check_help(machine: Machine, work: Path) -> str:
    text = machine.run("--help")
    missing = [verb for verb in ("gui", "scan", "train", "denoise", "evaluate", "export", "demo") if verb not in text]
    if missing:
        raise Failed(f"--help does not name {', '.join(missing)}")
    return "names every verb"


def check_models(machine: Machine, work: Path) -> str:
    found = json.loads(machine.run("models", "--json"))["models"]
    recipes = json.loads(machine.run("recipes", "--json"))["recipes"]
    if not found or not recipes:
        raise Failed("no models or no recipes: the resources are not there")
    return f"{len(found)} models, {len(recipes)} recipes"


def sample_file(name: str) -> Path | None:
    import pydicom

    folders = [Path(pydicom.__file__).parent / "data" / "test_files"]
    try:
        import data_store  # pydicom-data's files

        folders.append(Path(data_store.__file__).parent / "data")
    except ImportError:
        pass
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def write_sample(syntax: str, source: Path, target: Path) -> None:
    """The file as it is, or recoded, or called MR where the only samples of a syntax are secondary captures."""
    import io

    import pydicom
    from PIL import Image
    from pydicom import uid
    from pydicom.encaps import encapsulate

    dataset = pydicom.dcmread(source)
    match syntax:
        case "deflated":
            dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
        case "JPEG-LS near-lossless":
            dataset.compress(uid.JPEGLSNearLossless, jls_error=2)
        case "JPEG baseline":
            pixels = dataset.pixel_array
            grey = (pixels * (255 / pixels.max())).astype("uint8")
            stream = io.BytesIO()
            Image.fromarray(grey).save(stream, "JPEG", quality=95)
            dataset.BitsAllocated = dataset.BitsStored = 8
            dataset.HighBit, dataset.PixelRepresentation = 7, 0
            dataset.LossyImageCompression = "01"
            for keyword in ("SmallestImagePixelValue", "LargestImagePixelValue", "PixelPaddingValue"):
                if keyword in dataset:
                    delattr(dataset, keyword)
            dataset.PixelData = encapsulate([stream.getvalue()])
            dataset["PixelData"].VR = "OB"
            dataset.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
        case _ if dataset.SOPClassUID == uid.SecondaryCaptureImageStorage:
            dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = uid.MRImageStorage
            dataset.Modality, dataset.ImageType = "MR", ["ORIGINAL", "PRIMARY"]
            dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
            dataset.PixelSpacing, dataset.SliceThickness = [1, 1], 1
        case _:
            shutil.copy(source, target)
            return
    dataset.save_as(target)


def check_syntaxes(machine: Machine, work: Path) -> str:
    """Each transfer syntax alone, so that one failing codec is named."""
    done, absent, failed = [], [], []
    for syntax, name in SYNTAXES.items():
        source = sample_file(name)
        if source is None:
            absent.append(syntax)
            continue
        folder = work / "syntaxes" / syntax.replace(" ", "_").replace(",", "")
        folder.mkdir(parents=True)
        write_sample(syntax, source, folder / name)
        output = work / "denoised" / folder.name
        try:
            series = json.loads(machine.run("scan", folder, "--json"))["series"]
            if len(series) != 1:
                raise Failed(f"{len(series)} series found")
            machine.run("denoise", "--input", folder, "--output", output, "--json", codes=(0, 1, 2))
            report = json.loads((output / "report.json").read_text(encoding="utf-8"))["series"]
            status = [(row["status"], row["reason"]) for row in report]
            if len(status) != 1 or status[0][0] not in ("done", "flagged"):
                raise Failed(f"denoise said {status}")
            import pydicom

            written = [file for file in output.rglob("*") if file.suffix == ".dcm"]
            if not written or pydicom.dcmread(written[0]).pixel_array.size == 0:
                raise Failed("no DICOM was written")
            done.append(syntax)
        except (Failed, OSError, KeyError, ValueError, subprocess.TimeoutExpired) as error:
            failed.append(f"{syntax} ({name}): {error}")
    if failed:
        raise Failed("; ".join(failed))
    return f"{len(done)} transfer syntaxes scanned and denoised" + (f"; no sample of {absent}" if absent else "")


def check_deidentify(machine: Machine, work: Path) -> str:
    """The table of what is removed comes with a package that nothing else of the program imports."""
    import pydicom

    folder, output = work / "named", work / "nameless"
    folder.mkdir()
    source = sample_file("CT_small.dcm")
    if source is None:
        raise Failed("CT_small.dcm of pydicom's wheel is not there")
    shutil.copy(source, folder)
    machine.run("denoise", "--input", folder, "--output", output, "--deidentify", "--json", codes=(0, 2))
    (written,) = output.rglob("*.dcm")
    said = pydicom.dcmread(written)
    if said.get("PatientIdentityRemoved") != "YES" or said.PatientName == pydicom.dcmread(source).PatientName:
        raise Failed("the patient is still named")
    return f"the patient is called {said.PatientName}"


def check_worker(machine: Machine, work: Path) -> str:
    """Each decoder alone, asked as the program asks its worker: none may be missing behind another that stands in."""
    import struct

    frames = {
        "rle": ("MR_small_RLE.dcm", "1.2.840.10008.1.2.5", 0),
        "rle_in_python": ("MR_small_RLE.dcm", "1.2.840.10008.1.2.5", 0),
        "openjpeg": ("MR_small_jp2klossless.dcm", "1.2.840.10008.1.2.4.90", 16),
        "charls": ("MR_small_jpeg_ls_lossless.dcm", "1.2.840.10008.1.2.4.80", 16),
        "gdcm": ("MR_small_jpeg_ls_lossless.dcm", "1.2.840.10008.1.2.4.80", 16),
        "pillow": ("SC_rgb_small_odd_jpeg.dcm", "1.2.840.10008.1.2.4.50", 8),
    }
    questions = b""

    def question(words: dict[str, object], data: bytes = b"") -> bytes:
        text = json.dumps(words).encode()
        return struct.pack("<IQ", len(text), len(data)) + text + data

    import pydicom
    from pydicom.encaps import get_frame

    for decoder, (name, syntax, precision) in frames.items():
        source = sample_file(name)
        if source is None:
            raise Failed(f"no sample {name}")
        dataset = pydicom.dcmread(source)
        told = {
            "decoder": decoder,
            "syntax": syntax,
            "precision": precision,
            "memory": 1 << 30,
            "folder": str(machine.empty),
            "rows": dataset.Rows,
            "columns": dataset.Columns,
            "samples": dataset.SamplesPerPixel,
            "allocated": dataset.BitsAllocated,
            "stored": dataset.BitsStored,
            "signed": bool(dataset.PixelRepresentation),
        }
        questions += question({"task": "load", "decoder": decoder})
        questions += question({"task": "decode", **told}, get_frame(dataset.PixelData, 0, number_of_frames=1))
    result = subprocess.run(
        machine.command("--decoding-worker"),
        cwd=machine.empty,
        input=questions,
        capture_output=True,
        timeout=120,
        check=False,
    )
    answers, position = [], 0
    while position + 12 <= len(result.stdout):
        short, long = struct.unpack_from("<IQ", result.stdout, position)
        answers.append(json.loads(result.stdout[position + 12 : position + 12 + short]))
        position += 12 + short + long
    errors = [answer["error"] for answer in answers if "error" in answer]
    if errors or len(answers) != 2 * len(frames):
        raise Failed(f"{len(answers)} answers, {errors}: {result.stderr.decode(errors='replace')[-500:]}")
    return f"{', '.join(frames)} answered"


def check_export(machine: Machine, work: Path) -> str:
    """torch's exporters read their own source and data at run time."""
    failed = []
    formats = ("onnx", "pt2", "torchscript", "safetensors", "monai")
    for form in formats:
        try:
            machine.run("export", "general-small", "--format", form, "--output", work / "exports" / f"model.{form}")
        except (Failed, subprocess.TimeoutExpired) as error:
            failed.append(f"{form}: {error}")
    if failed:
        raise Failed("; ".join(failed))
    return f"{', '.join(formats)} written, loaded again and compared"


def check_engines(machine: Machine, work: Path) -> str:
    """Runtimes find their plugins at run time; those in fp32 must do what torch does anywhere."""
    folder = work / "engines" / "scans"
    folder.mkdir(parents=True)
    source = sample_file("CT_small.dcm")
    if source is None:
        raise Failed("CT_small.dcm of pydicom's wheel is not there")
    shutil.copy(source, folder)
    ran = []
    for engine, title in (("torch", "torch"), ("onnxruntime", "ONNX Runtime"), ("openvino", "OpenVINO")):
        output = work / "engines" / engine
        machine.run("denoise", "--input", folder, "--output", output, "--engine", engine, "--json", codes=(0, 2))
        (row,) = json.loads((output / "report.json").read_text(encoding="utf-8"))["series"]
        if title.lower() not in row["engine"].lower():
            raise Failed(f"{title} did not run: {row['engine']} did ({row['engine_note'] or row['reason']})")
        ran.append(row["engine"])
    return f"{', '.join(ran)} ran"


def check_demo(machine: Machine, work: Path) -> str:
    out = work / "demo"
    start = time.monotonic()
    machine.run("demo", "--out", out, limit=1200)
    seconds = time.monotonic() - start
    kinds = {
        suffix: len(list(out.rglob(f"*{suffix}"))) for suffix in (".aegui", ".dcm", ".png", ".onnx", "report.json")
    }
    if not all(kinds[suffix] for suffix in (".aegui", ".dcm", "report.json")):
        raise Failed(f"the demo left {kinds}")
    return f"{seconds:.0f} s; left {kinds}"


@contextmanager
def virtual_screen(work: Path) -> Iterator[tuple[str, Path]]:
    """(DISPLAY, the file that holds the screen's pixels)"""
    if not shutil.which("Xvfb") or not shutil.which("xdotool"):
        raise Failed("Xvfb and xdotool are needed to look for the window")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1440x900x24", "-fbdir", str(work), "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        with os.fdopen(read) as answer:
            number = answer.readline().strip()
        if not number:
            raise Failed("Xvfb did not start")
        yield f":{number}", work / "Xvfb_screen0"
    finally:
        server.terminate()
        server.wait()


def save_picture(framebuffer: Path, target: Path) -> None:
    """Xvfb's framebuffer file is an XWD dump: a header of 32-bit words, the colour map, then rows of BGRX."""
    import numpy as np
    from PIL import Image

    data = framebuffer.read_bytes()
    header = np.frombuffer(data, ">u4", 25)
    size, width, height, stride, colours = (int(header[i]) for i in (0, 4, 5, 12, 19))
    pixels = np.frombuffer(data, np.uint8, stride * height, size + 12 * colours).reshape(height, stride // 4, 4)
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(pixels[:, :width, 2::-1])).save(target, optimize=True)


def window_check(picture: Path | None, limit: float) -> Callable[[Machine, Path], str]:
    def check_window(machine: Machine, work: Path) -> str:
        with virtual_screen(work) as (display, framebuffer):
            start = time.monotonic()
            log = work / "window.log"
            with log.open("w") as output:
                # X over its socket file: abstract sockets belong to the network namespace.
                program = subprocess.Popen(
                    machine.command("gui", DISPLAY=display),
                    cwd=machine.empty,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
                search = ["xdotool", "search", "--onlyvisible", "--name", "aegui"]
                try:
                    while True:
                        seconds = time.monotonic() - start
                        if subprocess.run(
                            search, env={**os.environ, "DISPLAY": display}, capture_output=True, check=False
                        ).stdout.strip():
                            break
                        if program.poll() is not None:
                            raise Failed(f"the program ended with {program.returncode}: {log.read_text()[-1500:]}")
                        if seconds > limit:
                            raise Failed(f"no window within {limit:.0f} s: {log.read_text()[-1500:]}")
                        time.sleep(0.1)
                    time.sleep(5)  # it must stay, and finish drawing
                    if program.poll() is not None:
                        raise Failed(f"the window went away: {log.read_text()[-1500:]}")
                    if picture:
                        save_picture(framebuffer, picture)
                finally:
                    if program.poll() is None:
                        os.killpg(program.pid, signal.SIGTERM)
                        try:
                            program.wait(20)
                        except subprocess.TimeoutExpired:
                            os.killpg(program.pid, signal.SIGKILL)
                            program.wait()
            return f"appeared after {seconds:.1f} s"

    return check_window


# --- start ---------------------------------------------------------------------------------------------------------


def unpack(source: Path, target: Path) -> Path:
    """The program, in a place it was not built in."""
    if source.is_dir():
        shutil.copytree(source, target / "moved here", symlinks=True)
    elif source.suffix == ".deb":
        subprocess.run(["dpkg-deb", "-x", source, target], check=True)
    else:
        with tarfile.open(source) as tar:
            tar.extractall(target, filter="fully_trusted")
    name = "aegui.exe" if os.name == "nt" else "aegui"
    found = [
        file for file in target.rglob(name) if file.is_file() and not file.is_symlink() and os.access(file, os.X_OK)
    ]
    if not found:
        raise SystemExit(f"{source} holds no program named {name}.")
    return min(found, key=lambda file: len(file.parts))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path, help="dist/aegui, the tarball, or the .deb")
    parser.add_argument("--picture", type=Path, help="where to save a picture of the window")
    parser.add_argument("--window-limit", type=float, default=30, help="seconds until the window must be there")
    parser.add_argument("--skip", default="", help="checks to leave out: help,models,syntaxes,…")
    options = parser.parse_args()
    picture = options.picture.resolve() if options.picture else None
    checks = {
        "help": check_help,
        "models": check_models,
        "worker": check_worker,
        "syntaxes": check_syntaxes,
        "deidentify": check_deidentify,
        "export": check_export,
        "engines": check_engines,
        "demo": check_demo,
        "window": window_check(picture, options.window_limit),
    }
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="aegui-frozen-", ignore_cleanup_errors=True) as name:
        work = Path(name)
        machine = Machine(unpack(options.program.resolve(), work / "program"), work / "home")
        say(f"{machine.program} with {machine.isolation}")
        for title, check in checks.items():
            if title in options.skip.split(","):
                continue
            start = time.monotonic()
            try:
                say(f"ok      {title}: {check(machine, work)} ({time.monotonic() - start:.1f} s)")
                passed += 1
            except (Failed, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
                failed += 1
                say(f"FAILED  {title}: {error}")
    say(f"{passed} passed, {failed} failed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
