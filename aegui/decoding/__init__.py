"""Compressed frames → samples, in processes of their own: a broken codec takes neither the window nor its time."""

from aegui.decoding.pool import DecodingError, decode, shut_down

__all__ = ["DecodingError", "decode", "shut_down"]
