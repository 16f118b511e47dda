"""Side-by-side measurements of Reelmill and its alternatives."""
