"""Renders compared with ffmpeg and OpenCV, how soon they can be watched, and what planning and growth cost."""
