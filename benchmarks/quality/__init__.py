"""Calibration of the quality scale: the encoder rates that reach the SSIM of x264."""
