"""Questions of plain words, read without a model if every word of them is understood."""
