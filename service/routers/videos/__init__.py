"""Routes and models of renders: submission, status, events, files and HLS."""
