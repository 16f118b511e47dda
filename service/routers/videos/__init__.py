"""Routes and models of renders: submit, status, events, files and HLS."""
