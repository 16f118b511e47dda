"""Maps sample values to display levels: window, gamma, colormap, and the levels of a sequence."""
