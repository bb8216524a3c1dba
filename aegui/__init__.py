"""Adapt pretrained autoencoders to your own scanner's noise, and denoise whole folders with them."""

__version__ = "0.1.0"
