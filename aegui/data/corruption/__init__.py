"""A recipe's corruptions at work on normalised slices: what is drawn (`draw`) apart from putting it on (`corrupt`)."""

from aegui.data.corruption import compression, defects, noise
from aegui.data.corruption.corruptor import Corruptor
from aegui.data.corruption.patch import Drawn, Patch, corrupt, draw

__all__ = ["Corruptor", "Drawn", "Patch", "compression", "corrupt", "defects", "draw", "noise"]
