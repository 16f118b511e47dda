"""Questions in plain language: recognised by patterns or turned into guarded queries by language models; nothing is
ever written.
"""
