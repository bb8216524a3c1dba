"""What a network can be run with. No torch here: the command line names them before it is imported."""

from __future__ import annotations

from dataclasses import dataclass

from aegui.errors import UserError


@dataclass(frozen=True)
class Kind:
    """name: for settings and the command line. runtime and precision: for reports and derived series."""

    name: str
    runtime: str
    precision: str = "fp32"

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.runtime}, {self.precision}"


KINDS = {
    kind.name: kind
    for kind in (
        Kind("torch", "torch"),
        Kind("torch-bf16", "torch", "bf16"),
        Kind("onnxruntime", "ONNX Runtime"),
        Kind("openvino", "OpenVINO"),
        Kind("openvino-bf16", "OpenVINO", "bf16"),
    )
}

ENGINES = ("auto", *KINDS)


def require_engine(name: str) -> None:
    """UserError for a name that none has."""
    if name not in ENGINES:
        raise UserError(f"There is no engine “{name}”.", f"Choose one of {', '.join(ENGINES)}.")
