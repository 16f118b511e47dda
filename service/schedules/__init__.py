"""When a cron line is due in a zone, and which capture times a run of it shows. Pure functions."""
