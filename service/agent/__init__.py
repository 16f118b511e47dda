"""Answers questions in plain language with guarded queries, which patterns or language models write."""
