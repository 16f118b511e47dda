"""Presets and schedules: options of renders that have a name, and renders that are asked for again and again."""
