"""Tests of presets and schedules in the client."""
