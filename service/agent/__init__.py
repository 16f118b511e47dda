"""Questions in plain words: models write guarded documents, the guard runs them as the caller, nothing else happens."""
