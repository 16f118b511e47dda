"""Schema migrations, run in-process and serialised over all processes of the fleet."""
